"""Whatever stands in a checkpoint beside its bytes: a right result or one line, and nothing of it is run."""

import copy
import math
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import RUN, Kindling

import kindling as package
from kindling.cli import main
from kindling.errors import KindlingError
from kindling.models import SimpleNet

CASES = 200
COMMANDS = ("test", "validate", "predict", "fit", "fit", "load")
TOUCH = {"class_path": "os.system", "init_args": {"command": "touch executed"}}
OTHERS: tuple[Any, ...] = (
    None,
    -1,
    7,
    2**70,
    1e30,
    math.nan,
    True,
    "",
    "x",
    "os.system",
    "../x",
    [],
    [1, 2],
    [None],
    (),
    {},
    {"a": 1},
)
OTHERS += (TOUCH, torch.zeros(3))
FIT = ("fit", "--model=SimpleNet", "--trainer.max_epochs=2")
SMALL = ("--data.train_size=64", "--data.val_size=32", "--data.test_size=16", "--data.batch_size=16")
Place = tuple[Any, ...]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """After the last epoch, of a table with other classes in its options, and from within an epoch."""
    training_step = SimpleNet.training_step

    def interrupted(self: SimpleNet, batch: tuple) -> object:
        if self.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return training_step(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("contents"))
        Path("t.csv").write_text("a,b,y\n" + "".join(f"{n},{n % 7},{'pq'[n % 2]}\n" for n in range(90)))
        assert main([*FIT, *SMALL]) == 0
        table = ("--data=TabularCSV", f"--data.path={Path('t.csv').absolute()}", "--data.target=y")
        assert main([*FIT, *table, "--loss=NLLLoss", "--lr_scheduler=StepLR", "--lr_scheduler.step_size=1"]) == 0
        patch.setattr(SimpleNet, "training_step", interrupted)
        assert main([*FIT, *SMALL]) == 143
        runs = [RUN.with_name(f"version_{n}") for n in range(3)]
        return [torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in runs]


def places(content: Any, above: Place = ()) -> Iterator[Place]:
    """The path to each part of nested dicts and lists."""
    parts = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, part in parts:
        yield (*above, key)
        yield from places(part, (*above, key))


def spoil(content: dict[str, Any], chance: random.Random) -> str:
    """Take a part away, or put something else in its place; each part of a checkpoint has the same chance."""
    first = chance.choice([*content, "config", "config"])
    parent: Any = content
    *above, key = chance.choice([place for place in places(content) if place[0] == first])
    for step in above:
        parent = parent[step]
    if chance.random() < 0.3:
        del parent[key]
        return f"without {[*above, key]}"
    parent[key] = chance.choice(OTHERS)
    return f"with {[*above, key]} = {parent[key]!r}"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch and Lightning may warn of odd states
@pytest.mark.parametrize("first", range(0, CASES, 50))
def test_a_checkpoint_of_other_contents_is_used_or_refused(
    kindling: Kindling, checkpoints: list[dict[str, Any]], first: int
) -> None:
    answered = 0
    for seed in range(first, first + 50):
        chance = random.Random(seed)
        content = copy.deepcopy(chance.choice(checkpoints))
        what, command = spoil(content, chance), chance.choice(COMMANDS)
        torch.save(content, "odd.ckpt")
        print(f"seed {seed}: {command} {what}")
        if command == "load":
            try:
                package.load("odd.ckpt")
            except KindlingError:
                answered += 1
        else:
            longer = ["--trainer.max_epochs=3", "--trainer.max_steps=40"] if command == "fit" else []
            try:
                kindling(command, "--ckpt_path=odd.ckpt", *longer)
            except AssertionError:
                kindling(command, "--ckpt_path=odd.ckpt", *longer, code=2)
                assert kindling.err.startswith("kindling: error: ")
                assert kindling.err.count("\n") == 1
                answered += 1
        assert not Path("executed").exists()
        shutil.rmtree("odd", ignore_errors=True)
        shutil.rmtree("lightning_logs", ignore_errors=True)
    assert 10 <= answered <= 40


LACKING = ("epoch", "global_step", "loops", "optimizer_states", "lr_schedulers")


def test_weights_alone_are_tested_but_not_trained_on(kindling: Kindling, run: Path) -> None:
    content = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    torch.save({"state_dict": content["state_dict"]}, "weights.ckpt")
    assert "add --model and --data" in kindling.fails("test", "--ckpt_path=weights.ckpt")
    for command in ("test", "validate", "predict"):
        kindling(command, "--ckpt_path=weights.ckpt", "--model=SimpleNet")
    assert "test/acc" in Path("weights/test.json").read_text()
    error = kindling.fails("fit", "--ckpt_path=weights.ckpt", "--model=SimpleNet")
    assert f"weights.ckpt has no {', '.join(LACKING)}, so training can't resume from it" in error


@pytest.mark.slow
def test_weights_alone_are_exported(kindling: Kindling, run: Path) -> None:
    torch.save({"state_dict": torch.load(run / "checkpoints/best.ckpt", weights_only=True)["state_dict"]}, "w.ckpt")
    kindling("export", "--ckpt_path=w.ckpt", "--model=SimpleNet")
    assert "None are kept of these weights" in Path("w/export/MODEL_CARD.md").read_text()


@pytest.mark.parametrize("part", LACKING)
def test_training_does_not_go_on_without_a_part(kindling: Kindling, run: Path, part: str) -> None:
    content = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    del content[part]
    torch.save(content, "odd.ckpt")
    assert f"odd.ckpt has no {part}, so" in kindling.fails("fit", "--ckpt_path=odd.ckpt", "--trainer.max_epochs=11")
    kindling("test", "--ckpt_path=odd.ckpt")


def test_an_option_in_a_checkpoint_is_not_said_to_be_typed(kindling: Kindling, run: Path) -> None:
    content = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    content["config"]["model"]["init_args"]["hidden"] = "wide"
    torch.save(content, "odd.ckpt")
    assert "odd.ckpt holds --model.hidden wide: should be int" in kindling.fails("test", "--ckpt_path=odd.ckpt")
