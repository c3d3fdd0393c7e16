"""Standard output that is closed, full, or knows other letters; files that two commands write at once."""

import csv
import io
import sys
from pathlib import Path
from typing import IO

import pandas as pd
import processes
import pytest
from conftest import RUN, Kindling, rows

from kindling import console
from kindling.cli import main

FIT = ("fit", "--model=SimpleNet", "--trainer.max_epochs=1")
CHINESE = ("--data=TabularCSV", "--data.path=城市.csv", "--data.target=类")


@pytest.fixture
def cities() -> None:
    lines = [f"{'北上'[n % 2]},{n % 17},{'好坏'[n % 3 > 0]}" for n in range(90)]
    Path("城市.csv").write_text("\n".join(["城市,大小,类", *lines]), encoding="utf-8")


def test_closed_output(kindling: Kindling) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("stdin", "stdout", "stderr"):
            patch.setattr(sys, name, None)
        codes = [main(args) for args in (["list"], [*FIT], ["fit"])]
        for stream in (sys.stdin, sys.stdout, sys.stderr):  # which are there now, so that no file gets their numbers
            stream.close()
    assert codes == [0, 0, 2]
    assert (RUN / "curves.png").is_file()


def test_full_output(kindling: Kindling) -> None:
    says = "standard output can't be written (No space left on device): make room"
    for args, buffering in ((("list",), -1), (("list",), 1), (FIT, -1)):  # 1: each line is written at once
        with Path("/dev/full").open("w", buffering) as full, pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", full)
            kindling(*args, code=2)
        assert kindling.err.startswith("kindling: error: ")
        assert says.removeprefix("standard " if args == FIT or buffering == 1 else "") in kindling.err
        assert kindling.err.count("\n") == 1
    assert (RUN / "checkpoints/last.ckpt").is_file() == ("resumes after step" in kindling.err)


def test_output_without_the_letters(kindling: Kindling, monkeypatch: pytest.MonkeyPatch, cities: None) -> None:
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, "ascii", write_through=True))
    kindling(*FIT, *CHINESE, "--test_after_fit=true")
    kindling("predict", "--ckpt_path=best")
    assert rb"on \u57ce\u5e02.csv (\u7c7b: 2 classes)" in printed.getvalue()
    assert {row["prediction"] for row in rows(RUN / "predictions.csv")} <= {"好", "坏"}


def test_a_folder_whose_name_is_not_utf8(kindling: Kindling, monkeypatch: pytest.MonkeyPatch, cities: None) -> None:
    folder = Path("r\udcff")
    folder.mkdir()
    Path("城市.csv").rename(folder / "城市.csv")
    monkeypatch.chdir(folder)
    kindling(*FIT, *CHINESE, "--test_after_fit=true")
    kindling("predict", "--ckpt_path=best")


def test_two_commands_write_one_file(kindling: Kindling, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = csv.writer

    def second(file: IO[str]) -> object:  # while the first has the file open
        monkeypatch.setattr(csv, "writer", writer)
        assert main(["predict", "--ckpt_path=best", "--data.test_size=7"]) == 0
        assert len(rows(RUN / "predictions.csv")) == 7
        return writer(file)

    monkeypatch.setattr(csv, "writer", second)
    kindling("predict", "--ckpt_path=best", "--data.test_size=300")
    assert len(rows(RUN / "predictions.csv")) == 300
    assert not list(RUN.rglob("*.part"))
    Path("usual").touch()
    assert (RUN / "predictions.csv").stat().st_mode == Path("usual").stat().st_mode


@pytest.mark.slow
@pytest.mark.parametrize(
    "commands",
    [
        [("test", "--data.test_size=300"), ("test", "--data.test_size=400"), ("test", "--data.test_size=500")],
        [("export", "--format=weights"), ("export", "--format=pt2"), ("export", "--format=weights")],
        [("lr_find", "--model=SimpleNet")] * 3,
    ],
)
def test_three_commands_at_once(run: Path, commands: list[tuple[str, ...]]) -> None:
    which = [] if commands[0][0] == "lr_find" else ["--ckpt_path=best"]
    three = [processes.start(*command, *which, output=f"output{n}.txt") for n, command in enumerate(commands)]
    said = processes.finish(*three)
    assert said == [0, 0, 0], [f.read_text() for f in Path().glob("output*.txt")]
    assert not [f for f in Path().rglob("*") if ".part" in f.name or f.name.startswith(".lr_find")]
    if commands[0][0] == "export":
        card = (RUN / "export/MODEL_CARD.md").read_text()
        assert all(
            f"| {f.name} |" in card for f in (RUN / "export").iterdir() if f.name.startswith(("weights", "model"))
        )
    elif commands[0][0] == "test":
        mistakes, (projector,) = pd.read_csv(RUN / "mistakes.csv"), (RUN / "projector").iterdir()
        assert len(mistakes) < 100
        lines = [(projector / f"{name}.tsv").read_text().count("\n") for name in ("tensors", "metadata")]
        assert lines[0] + 1 == lines[1]


def test_columns_with_chinese_cells_stand_below_each_other() -> None:
    cells = [["城区", "p(中等)", "y"], ["浦东新区", "0.5", "两室"], ["a", "1", ""]]
    assert console.aligned(cells) == ["城区      p(中等)  y", "浦东新区  0.5      两室", "a         1"]
