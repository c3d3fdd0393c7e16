from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from conftest import Kindling

from kindling.runs import folder as runs


def test_runs_that_start_at_once_get_a_folder_each() -> None:
    logs = Path("logs")
    with ThreadPoolExecutor(16) as pool:
        claimed = list(pool.map(lambda _: runs.claim(logs).folder.name, range(64)))
    assert sorted(claimed) == sorted(f"version_{n}" for n in range(64))


def test_the_newest_run_has_the_highest_number_and_other_folders_are_none() -> None:
    logs = Path("logs")
    for name in ("version_2", "version_10", "version_x", "mine"):
        (logs / name).mkdir(parents=True)
        (logs / name / "config.yaml").write_text("model: {class_path: a.B}")
    assert [run.folder.name for run in runs.newest_first(logs)] == ["version_10", "version_2"]
    assert runs.claim(logs).folder.name == "version_11"
    assert [run.folder.name for run in runs.newest_first(logs, model="C")] == []


def test_where_no_folder_can_be_made_a_line_says_so(kindling: Kindling) -> None:
    Path("lightning_logs").write_text("a file")
    assert "no run can be kept in lightning_logs (File exists)" in kindling.fails("fit", "--model", "SimpleNet")
