"""``sweep``: trials that are runs like any other, in an order that nothing can disturb."""

import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Kindling, equal, rows, weights

from kindling.cli import arguments
from kindling.errors import RunError
from kindling.sweep import space
from kindling.sweep.study import Definition, Study
from kindling.sweep.workers import Message, Worker

SWEEP = Path("lightning_logs/sweep_0")
SIMPLE = ("sweep", "--model=SimpleNet", "--vary.lr=1e-4..1 log", "--vary.model.hidden=8..128", "--epochs=2")


def found() -> list[dict[str, str]]:
    return rows(SWEEP / "sweep.csv")


def lasting(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """What a sweep found, without the seconds that it took."""
    return [{name: cell for name, cell in row.items() if name != "seconds"} for row in rows]


def test_a_sweep_finds_trains_and_keeps_the_best(kindling: Kindling, forked: None) -> None:
    out = kindling(*SIMPLE, "--trials=3", "--test_best=true")
    trials = found()
    assert sorted(int(row["trial"]) for row in trials) == [0, 1, 2]
    scores = [float(row["val/loss"]) for row in trials if row["state"] == "complete"]
    assert scores == sorted(scores)
    assert all(1e-4 <= float(row["optimizer.lr"]) <= 1 and 8 <= int(row["model.hidden"]) <= 128 for row in trials)
    best = SWEEP / trials[0]["run"]
    assert [f.parent for f in SWEEP.glob("*/checkpoints")] == [best]
    assert f"Test of {best}: test/loss" in out
    assert yaml.safe_load((best / "test.json").read_text())["test/loss"] > 0
    metrics = rows(best / "metrics.csv")
    assert min(float(row["val/loss"]) for row in metrics) == scores[0]

    kindling("predict", "--ckpt_path=sweep_0")
    assert (best / "predictions.csv").is_file()
    kindling("fit", "-c", SWEEP / "best.yaml")  # type: ignore[arg-type]
    again = Path("lightning_logs/version_1")
    assert equal(weights(again / "checkpoints/best.ckpt"), weights(best / "checkpoints/best.ckpt"))

    before = lasting(trials)
    assert "Going on after 3 trials" in kindling("sweep", "--ckpt_path=last", "--trials=4")
    after = lasting(found())
    assert len(after) == 4
    assert all(row in after for row in before)


@pytest.mark.slow
def test_a_sweep_says_which_letters_no_font_has(kindling: Kindling, forked: None) -> None:
    out = kindling("sweep", "--model=SimpleNet", "--vary.lr=1e-4..1 log", "--trials=1", "--epochs=1", "--name=𒾐")
    assert out.count("\nNo font here has 𒾐: pictures show boxes instead; ") == 1  # of a script of Cyprus, 1500 BC
    assert Path("lightning_logs/𒾐_0/history.png").is_file()


def definition(**changed: Any) -> Definition:
    usual: dict[str, Any] = {
        "vary": {"lr": "1e-4..1 log", "hidden": "8..128", "optimizer": ["SGD", "Adam"], "momentum": "0..1"},
        "conditions": {"momentum": ("optimizer", ["SGD"])},
        "floats": ["momentum"],
        "objectives": [["val/loss", "min"]],
    }
    plain: dict[str, Any] = {"options": [], "configs": [], "runs": [{}], "seed": 1}
    return Definition(**plain | {"sampler": "TPE", "pruner": "Median"} | usual | changed)


def objective(values: dict[str, Any]) -> float:
    return abs(values["lr"] - 0.1) + values["hidden"] / 1000 + values.get("momentum", 0.3)


@pytest.mark.slow
def test_what_is_tried_does_not_depend_on_interruptions(tmp_path: Path) -> None:
    """A coordinator that is killed between any two writes to its database goes on with the same values."""
    one = definition()
    unbroken = Study(f"sqlite:///{tmp_path}/unbroken.db", "sweep", one)
    for _ in range(12):
        trial = unbroken.next(12)
        assert trial is not None
        unbroken.tell(trial.number, {"val/loss": objective(trial.values)})
    assert unbroken.next(12) is None

    url, draw = f"sqlite:///{tmp_path}/broken.db", random.Random(0)
    values: dict[int, dict[str, Any]] = {}
    while len(values) < 12:
        study = Study(url, "sweep", one)
        stop_after = draw.randrange(3)  # values that it stores before it is killed

        def killed(asked: Any, study: Study = study, stop_after: int = stop_after) -> None:
            stored: dict[str, Any] = {}
            for n, (option, varied) in enumerate(study.space.items()):
                if n == stop_after and asked.study is study._study:
                    raise KeyboardInterrupt
                if study.definition.applies(option, stored):
                    stored[option] = varied.suggest(asked, option)

        running = study.take_up(())
        if running:
            trial = study.trial(running[0].number)
            study.tell(trial.number, {"val/loss": objective(trial.values)})
            values[trial.number] = trial.values
            continue
        study._suggest = killed  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            study.next(12)
    assert values == {trial.number: trial.values for trial in unbroken.trials()}
    assert {"momentum" in of for of in values.values()} == {True, False}
    assert all(("momentum" in of) == (of["optimizer"] == "SGD") for of in values.values())
    assert unbroken.best_first()[0].number == min(values, key=lambda n: objective(values[n]))
    assert sum(unbroken.importances().values()) == pytest.approx(1)


def test_a_grid_is_every_combination_once(tmp_path: Path) -> None:
    vary = {"lr": [0.1, 1.0], "optimizer": ["SGD", "Adam"], "momentum": "0..0.8 step 0.4"}
    study = Study(f"sqlite:///{tmp_path}/grid.db", "sweep", definition(vary=vary, sampler="Grid"))
    while trial := study.next(8):
        study.tell(trial.number, {"val/loss": 1.0})
    tried = [tuple(sorted(trial.values.items())) for trial in study.trials()]
    assert len(tried) == len(set(tried)) == 2 * (3 + 1)
    assert {t.values.get("momentum") for t in study.trials()} == {None, 0.0, 0.4, 0.8}


def test_one_run_of_several_ends_no_trial(tmp_path: Path) -> None:
    several = definition(runs=[{"seed_everything": str(seed)} for seed in range(3)])
    study = Study(f"sqlite:///{tmp_path}/seeds.db", "sweep", several)
    for _ in range(5):
        good = study.next(6)
        assert good is not None
        assert not any(study.report(good.number, run, 0.1) for run in (1, 2))
        study.tell(good.number, {"val/loss": 0.1})
    bad = study.next(6)
    assert bad is not None
    assert [study.report(bad.number, run, 0.9) for run in (1, 2)] == [False, True]


def test_several_objectives_have_a_front(tmp_path: Path) -> None:
    objectives = [["val/acc", "max"], ["ms_per_sample", "min"]]
    study = Study(f"sqlite:///{tmp_path}/front.db", "sweep", definition(objectives=objectives, pruner="Nop"))
    for acc, ms in ((0.8, 1.0), (0.9, 2.0), (0.85, 3.0), (0.7, 0.5)):
        trial = study.next(4)
        assert trial is not None
        study.tell(trial.number, {"val/acc": acc, "ms_per_sample": ms})
    ranked = study.best_first()
    assert [trial.number for trial in study.front(ranked)] == [1, 0, 3]
    assert [trial.number for trial in ranked] == [1, 0, 3, 2]


def test_a_database_of_another_sweep_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/one.db"
    Study(url, "sweep", definition())
    with pytest.raises(RunError, match="was begun with other seed: type another --name"):
        Study(url, "sweep", definition(seed=2))
    with pytest.raises(RunError, match="was begun by another version of Kindling"):
        Study(url, "sweep", definition(format=0))


def test_values_are_read_as_they_are_typed() -> None:
    assert space.read("lr", "1e-4..1 log") == space.Range(1e-4, 1, log=True)
    assert space.read("x", "8..128") == space.Range(8, 128, is_whole=True)
    assert space.read("x", "0..1 step 0.3") == space.Range(0, pytest.approx(0.9), step=0.3)  # type: ignore[arg-type]
    assert space.read("x", ["1e-3", 2, "SGD"]) == space.Choice((1e-3, 2, "SGD"))


def test_what_is_varied_may_be_nested_in_a_file() -> None:
    Path("mine.yaml").write_text("vary: {optimizer.lr: 0..1, model: {hidden: [1, 2]}}\n")
    assert arguments.parse(["sweep", "--model=SimpleNet", "-c", "mine.yaml"]).vary == {
        "optimizer.lr": "0..1",
        "model.hidden": [1, 2],
    }


def start(*args: str) -> subprocess.Popen[bytes]:
    with Path("output.txt").open("ab") as out:
        return subprocess.Popen([sys.executable, ROOT / "tests/program.py", *args], stdout=out, stderr=out)


def workers() -> list[int]:
    """Processes that train in this folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            is_here = process.name.isdigit() and (process / "cwd").resolve() == Path.cwd()
            if is_here and b"cli.trial" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


FATAL = """
import os
from tiny.simple_net import SimpleNet

class Fatal(SimpleNet):
    def on_train_epoch_start(self):
        if self.current_epoch == 1 and self.hparams.hidden == 16:
            os.kill(os.getpid(), 9)
        if self.hparams.hidden == 24:
            raise ValueError("24 is too many")
"""


@pytest.mark.slow
def test_a_process_that_dies_costs_no_other_trial(kindling: Kindling, forked: None) -> None:
    Path("fatal.py").write_text(FATAL)
    data = ("--data=tiny.synthetic_tabular.SyntheticTabular", "--epochs=3")
    out = kindling("sweep", "--model=fatal.Fatal", *data, "--vary.model.hidden=[8, 16, 24, 32]")
    by_hidden = {row["model.hidden"]: row for row in found()}
    assert {hidden: row["state"] for hidden, row in by_hidden.items()} == {
        **dict.fromkeys(("8", "32"), "complete"),
        **dict.fromkeys(("16", "24"), "failed"),
    }
    assert "its process was killed by signal 9, see " in by_hidden["16"]["reason"]
    assert by_hidden["24"]["reason"] == "ValueError: 24 is too many"
    assert out.count("once more, from its last checkpoint") == 2
    assert "Traceback" in (SWEEP / "worker_0.log").read_text()

    # the file of the sweep names a class of the user's own, which only the user may name
    assert "names fatal.Fatal for --model, whose code would run" in kindling.fails("sweep", "--ckpt_path=last")
    assert "Going on after 4 trials" in kindling("sweep", "--ckpt_path=last", "--model=fatal.Fatal")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "reason"),
    [
        (("--vary.lr=[1e20, 1e22]",), "the loss is nan at step"),
        (("--vary.lr=[0.1, 0.2]", "--monitor=val/foo", "--mode=min"), "val/foo"),
    ],
)
def test_no_trial_has_a_score(kindling: Kindling, forked: None, option: tuple[str, ...], reason: str) -> None:
    kindling("sweep", "--model=SimpleNet", "--epochs=2", *option, code=2)
    assert kindling.err.count("\n") == 1
    assert f"no trial of {SWEEP} has a score; of the first: " in kindling.err
    assert reason in kindling.err
    assert len(found()) == 2


@pytest.mark.slow
def test_seeds_and_objectives(kindling: Kindling, forked: None) -> None:
    """Of a file, with two workers; then the same trials with several objectives."""
    Path("sweep.yaml").write_text(
        "model: SimpleNet\ntrainer: {max_epochs: 2}\ntrials: 3\n"
        "vary:\n  optimizer: [SGD, Adam]\n  optimizer.lr: 0.01..1 log\n  optimizer.momentum: 0..1\n"
    )
    kindling("sweep", "-c", "sweep.yaml", "--seeds=2", "--jobs=2", "--keep=all")
    for row in found():
        runs = [SWEEP / f"trial_{row['trial']}/seed_{seed}" for seed in (42, 43)]
        scores = [min(float(epoch["val/loss"]) for epoch in rows(run / "metrics.csv")) for run in runs]
        assert float(row["val/loss"]) == pytest.approx(sum(scores) / 2)
        assert float(row["spread"]) == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
        assert (row["optimizer.momentum"] != "") == (row["optimizer"] == "SGD")
        assert all((run / "checkpoints/best.ckpt").is_file() for run in runs)
    assert len(found()) == 3

    kindling("sweep", *SIMPLE[1:], "--trials=3", "--objectives=val/acc,ms_per_sample,parameters", "--name=front")
    front = rows(Path("lightning_logs/front_1/sweep.csv"))
    assert [float(row["parameters"]) for row in front] == [5 * int(row["model.hidden"]) + 2 for row in front]
    assert all(float(row["ms_per_sample"]) > 0 for row in front)
    assert (Path("lightning_logs/front_1/front.png")).is_file()


@pytest.mark.slow
def test_a_trial_on_several_devices(kindling: Kindling, forked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(ROOT / "tests/program.py")])
    Path("sweep.yaml").write_text("model: SimpleNet\ntrainer: {accelerator: cpu, devices: 2, max_epochs: 1}\n")
    kindling("sweep", "-c", "sweep.yaml", "--vary.lr=[0.01, 0.1]")
    assert [row["state"] for row in found()] == ["complete"] * 2
    best = SWEEP / found()[0]["run"]
    assert yaml.safe_load((best / "config.yaml").read_text())["trainer"]["devices"] == 2
    assert len(rows(best / "metrics.csv")) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_sweep_to_go_on_with(number: int, code: int) -> None:
    process = start(*SIMPLE[:-1], "--epochs=1000", "--trials=2", "--pruner=Nop")
    limit = time.monotonic() + 60
    while not any(SWEEP.glob("trial_0/checkpoints/last.ckpt")):
        assert time.monotonic() < limit, Path("output.txt").read_text()
        time.sleep(0.1)
    process.send_signal(number)
    assert process.wait(60) == code
    assert "Interrupted: python scripts/main.py sweep --ckpt_path last  goes on" in Path("output.txt").read_text()
    assert "Traceback" not in Path("output.txt").read_text()
    assert workers() == []
    assert (SWEEP / "trial_0/checkpoints/previous.ckpt").is_file()  # it is to be resumed


def test_a_worker_that_has_died_can_be_told_something(tmp_path: Path) -> None:
    """What it said before its end may be answered after it."""
    inbox: queue.Queue[tuple[Worker, Message | None]] = queue.Queue()
    code = "import os; print('{\"epoch\": 1}', flush=True); os._exit(3)"
    worker = Worker(0, code, {}, tmp_path / "log.txt", inbox)
    assert [inbox.get(timeout=30) for _ in range(2)] == [(worker, {"epoch": 1}), (worker, None)]
    worker.tell({"do": "go"})
    assert worker.ending() == "its process ended with exit code 3"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_sweep_killed_at_twenty_moments_finds_the_same() -> None:
    """Coordinator and workers, by a signal that nobody can catch, until the sweep has come to its end."""
    args = (*SIMPLE[:-1], "--epochs=6", "--trials=12")
    undisturbed = start(*args)
    assert undisturbed.wait(300) == 0, Path("output.txt").read_text()
    wanted = lasting(found())
    best = weights(SWEEP / found()[0]["run"] / "checkpoints/best.ckpt")
    shutil.rmtree("lightning_logs")

    draw, kills = random.Random(0), 0
    process = start(*args)
    while kills < 20 and process.poll() is None:
        time.sleep(draw.uniform(2, 8) if kills % 4 else 0.5)
        victims = draw.choice([[process.pid], workers(), [process.pid, *workers()]])
        for pid in victims:
            kills += 1
            os.kill(pid, signal.SIGKILL)
        if process.pid in victims:
            process.wait()
            process = start(*(("sweep", "--ckpt_path=last") if any(Path().rglob("sweep.yaml")) else args))
    assert process.wait(300) == 0, Path("output.txt").read_text()
    assert kills >= 10
    (sweep,) = (file.parent for file in Path().rglob("sweep.yaml"))  # one may have been killed before it began
    assert lasting(rows(sweep / "sweep.csv")) == wanted
    assert equal(weights(sweep / wanted[0]["run"] / "checkpoints/best.ckpt"), best)
