"""The benchmarks do the same work on both sides; how fast, no test asks."""

import re

import pytest
from benchmarks import __main__ as bench
from benchmarks import (
    commands,
    data_growth,
    measure,
    memory,
    serving,
    shared_machine,
    soak,
    startup,
    step_overhead,
    sweep,
    testing_speed,
    time_to_90,
    training_speed,
    tutorial_search,
)
from benchmarks.measure import Result, Target
from conftest import ROOT, Kindling, needs

RESULTS = (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")


def test_every_claim_is_measured_and_reported() -> None:
    claims = {f.stem for f in (ROOT / "benchmarks").glob("*.py") if "def measure(" in f.read_text()}
    assert claims >= set(bench.CLAIMS)
    for claim in bench.CLAIMS:
        assert claim in RESULTS.rpartition("Seconds each took")[2]


def test_the_reported_verdicts_follow_from_the_reported_figures() -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in RESULTS.splitlines() if line.startswith("| ")]
    names, rows = rows[0], rows[1:]
    assert tuple(names) == bench.COLUMNS
    judged = 0
    for row in rows:
        cells = dict(zip(names, row, strict=True))
        assert float(cells["ratio"].replace(",", "")) > 0
        if cells["target"]:
            of, sign, limit = cells["target"].split()
            value = float(cells[of].replace(",", ""))
            assert (cells["met"] == "yes") == (value <= float(limit) if sign == "<=" else value >= float(limit))
            judged += 1
    assert judged >= 8


def test_a_result_is_the_median_of_pairs() -> None:
    row = Result("a / b", "s", [1.0, 2.0, 30.0], [2.0, 2.0, 10.0], Target("<=", 1.4)).row()
    assert (row["ours"], row["plain"], row["ratio"], row["low"], row["high"]) == (2.0, 2.0, 1.0, 0.5, 3.0)
    assert row["met"]
    assert not Result("a / b", "s", [2.0], [1.0], Target("<=", 1.4)).row()["met"]
    assert Result("a / b", "s", [2.0], [9.0], Target(">=", 1.0, of="ours")).row()["met"]


@pytest.mark.slow
@pytest.mark.usefixtures("shipped")
def test_a_step_is_the_same_step_on_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    needs("SimpleNet", "SyntheticTabular")
    results = step_overhead.measure(repeats=1, few=1, many=3)
    assert len(results) == 2
    assert capsys.readouterr().out.count("loss of epoch 2: ours ") == 2  # and they agreed, or it had raised


def test_other_work_is_no_comparison(kindling: Kindling) -> None:
    kindling("fit", "--model=SimpleNet", "--trainer.max_epochs=1")
    with pytest.raises(RuntimeError, match=r"training loss of epoch 1: ours 0\.\d+, the plain loop's 9\.0"):
        measure.check_same_loss(9.0, 1)
    with pytest.raises(RuntimeError, match="ended with 2: kindling: error: --model SimpelNet"):
        measure.kindling("fit", "--model", "SimpelNet")


@pytest.mark.slow
@pytest.mark.usefixtures("fashion")
def test_the_other_claims_in_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASHION_MNIST_ROOT", raising=False)  # the fixture's data is in data/
    assert len(training_speed.measure(repeats=1, batches=2, val_batches=2, val_size=20)) == 4
    assert len(testing_speed.measure(repeats=1, train_batches=2, val_size=20)) == 4
    assert len(commands.measure(repeats=1, train_batches=2, val_size=20)) == 2
    tutorial_search.search_simple_net(trials=1, epochs=1)
    tutorial_search.search_net("data", val_size=20, trials=1, epochs=1, batches=2)
    recipe = ("--model", "Net", "--data.val_size", "20", "--trainer.max_epochs", "1")
    assert time_to_90.measure(recipe, goal=0.1, most_epochs=1)[0].plain[0] > 0
    growth = data_growth.measure(1, rows=(100,), images=(150,), all_images=200, rows_steps=4, images_steps=3)
    assert [r.claim for r in growth] == [
        "SimpleNet, an epoch of 100 samples, batch 32 / by hand",
        "Net, an epoch of 150 samples, batch 64 / by hand",
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("shipped")
def test_servers_answer_the_same_and_bear_bad_requests(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs("SimpleNet", "SyntheticTabular")
    serving.export("SimpleNet", root="")
    results = serving.compare("SimpleNet", repeats=1, seconds=0.1)
    assert len(results) == 7
    assert min(result.ours[0] for result in results) > 0
    with pytest.raises(RuntimeError, match="the servers answer differently: ours "):
        serving.check_same_answer({"probabilities": {"a": 0.9}}, {"probabilities": {"a": 0.8}})
    monkeypatch.setattr(soak, "GROWTH", 1)  # it has hardly begun
    soak.run("SimpleNet", seconds=0.5)
    assert re.search(r"MB \([+-].+%\), as they should be:\nanswered [\d,]+, ", capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.usefixtures("real")
def test_the_claims_about_processes_in_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASHION_MNIST_ROOT", raising=False)  # the fixture's data is in data/
    assert len(startup.measure(repeats=1)) == 6
    assert memory.measure(repeats=1, batches=2)[0].ours[0] > 1
    sweep.sweep("SimpleNet", 1, 1)
    assert 60 / sweep.trials_per_minute(sweep.newest()) > sweep.seconds_of_training(sweep.newest(), 1) > 0
    names = (shared_machine.TWO, shared_machine.NET)
    assert shared_machine.measure(repeats=1, names=names, batches=4, val_batches=2)[0].ours[0] > 0
