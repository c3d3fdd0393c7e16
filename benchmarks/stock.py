"""What stock LightningCLI answers to the mistakes of docs/errors.md; writes docs/stock.md.

The cases come from the tests, which see Kindling answer each with one line and exit code 2; here the same networks and
data stand behind LightningCLI alone. Each case is a fork of this process, which has imported everything, in a folder of
its own.
"""

import datetime
import importlib
import inspect
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
import torch.utils.tensorboard  # noqa: F401  # as a run would, but before the forks
from lightning.pytorch.cli import LightningCLI

import kindling.data
import kindling.models
from kindling.data import DATA
from kindling.models import MODELS

PROJECT = Path(__file__).parents[1]
PAGE = PROJECT / "docs/stock.md"
TESTS = ("test_bad_options", "test_bad_files", "test_bad_checkpoints", "test_bad_places")
RUN = Path("lightning_logs/version_0")
BEST = RUN / "checkpoints/best.ckpt"
COMMANDS = ("fit", "validate", "test", "predict")
SIZES = ("--model.in_features=5", "--model.num_outputs=1")  # of the tests' table
UNPREPARED = 77  # an exit code
OURS = re.compile(  # what only Kindling has
    r"(lr_find|export|list|--(test_after_fit|checkpoint_every|model\.loss|histograms|format|min_lr|max_lr|num_training))"
    r"([.=].*)?"
)
RIGHT = {  # where stock does what was meant, or what its documentation says: left out if it ends with exit code 0
    "an option abbreviated",
    "an option of the network that the data fills in",
    "likewise, of the data",  # torch takes seeds below 0
    "a row every 0 steps",  # stock's way to log nothing
    "a file: likewise: `model: {hidden: 3}`",
    "a file: options as they are typed: `trainer.max_epochs: 3`",
}
OUR_CHECKPOINTS = {"of another program", "a class that is gone"}  # stock's don't say how the network came about
OUTCOMES = {
    "traceback": "`Traceback (most recent call last)` was printed",
    "several lines": "another exit code than 0, no traceback, more than 3 lines: mostly all options, then the error",
    "silence": "exit code 0, and nothing said that commands without a mistake don't say as well",
    "warned, went on": "exit code 0, and a warning that those don't print, or why no epoch began",
    "hang": "still there after 60 seconds",
    "a clear line": "another exit code than 0, no traceback, at most 3 lines",
}
HEAD = """\
# What stock LightningCLI answers

`python -m benchmarks.stock` writes this page: the mistakes of [errors.md](errors.md), with the same networks and data,
made with LightningCLI as it comes (`subclass_mode_model=True, subclass_mode_data=True`, 2 epochs) in Kindling's place.
{conditions}.

What Kindling fills in by itself is typed: the data, the sizes for a table, an optimizer beside its options, and for a
checkpoint the `config.yaml` of its run. Stock knows `best` and `last` only in the process that trained, so they are
given as the file, where there is one. An outcome says what was printed:

{rules}

{ours} cases are left out because only Kindling has the command, the option or what stands in the checkpoint; {right}
more, marked below, because stock does what was meant there, or nothing that could fail. {inner} of the tracebacks lead
to an error that Kindling's own networks or data raise, in words that Kindling prints alone. A traceback's last line
often says what is wrong, as the last column shows. Kindling's column is not measured here: its tests assert it. Cases
that a test makes up inside, such as variables of the environment, are not among these.

| outcome | stock LightningCLI | Kindling |
|---|---|---|
{summary}
"""


class Mistake(NamedTuple):
    """
    Args:
        section: Of docs/errors.md.
        what: As that page names it.
        args: Kindling's command.
        needs: Fixtures of its test.
        prepare: What comes before it.
    """

    section: str
    what: str
    args: tuple[str, ...]
    needs: frozenset[str]
    prepare: Callable[[], object]


class Answer(NamedTuple):
    typed: str
    code: int
    text: str


def mistakes() -> Iterator[Mistake]:
    """Those that the tests go through one by one."""
    for name in TESTS:
        what = ""
        for test in [value for value in vars(importlib.import_module(name)).values() if inspect.isfunction(value)]:
            marks = getattr(test, "pytestmark", [])
            fixtures = {f for mark in marks if mark.name == "usefixtures" for f in mark.args}
            for values in (v for mark in marks if mark.name == "parametrize" for v in mark.args[1]):
                case, *more = (values,) if hasattr(values, "says") else values
                if not hasattr(case, "says") or any(isinstance(m, str) for m in more):
                    continue  # the latter are refused by hand
                first, trained = more or (None, False)
                what = what if case.what == "likewise" else case.what
                needs = fixtures | {*inspect.signature(test).parameters} | ({"run"} if trained else set())
                prepare = partial(in_turn, case.prepare, first)
                yield Mistake(name.removeprefix("test_bad_").capitalize(), what, case.args, frozenset(needs), prepare)


def in_turn(*steps: Callable[[], object] | None) -> None:
    for step in steps:
        if step is not None:
            step()


def stock(args: tuple[str, ...]) -> list[str]:
    """The command with what Kindling fills in by itself: data, sizes, optimizer, the run's options and checkpoint."""
    command, *rest = args
    if command not in COMMANDS:
        return [*args]
    typed = {a.partition("=")[0]: a.partition("=")[2] or b for a, b in pairwise([*rest, ""])}
    filled = []
    if BEST.exists() and typed.get("--ckpt_path") in ("best", "last"):
        rest = [re.sub(r"^(--ckpt_path=|)(best|last)$", rf"\g<1>{BEST}", a) for a in rest]
    if "--ckpt_path" in typed and (RUN / "config.yaml").exists():
        filled += [f"--config={RUN}/config.yaml"]
    elif "--ckpt_path" in typed and command != "fit":
        filled += ["--model=SimpleNet", "--data=SyntheticTabular"]
    elif "--data" not in typed:
        model = typed.get("--model", "")
        filled += [f"--data={(MODELS[model].default_data if model in MODELS else None) or 'SyntheticTabular'}"]
    if command == "fit" and typed.get("--ckpt_path") == str(BEST):
        rest += ["--trainer.max_epochs=3"]  # one more than it has had
    if typed.get("--data") == "TabularCSV":
        rest += SIZES
    if "--optimizer" not in typed and any(name.startswith(("--optimizer.", "--lr_scheduler")) for name in typed):
        filled += ["--optimizer=Adam"]
    if typed.get("--lr_scheduler") == "OneCycleLR":
        rest += ["--lr_scheduler.total_steps=50"]
    return [command, *filled, *rest]


def run(folder: Path, args: tuple[str, ...], prepare: Callable[[], object], seconds: float = 60) -> Answer:
    """One command in a process of its own; what it prints comes through a pipe, which no full disk cuts short."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.close(reading)
        os.close(writing)
        os.chdir(folder)
        code = in_child(args, prepare)
        sys.stdout.flush()
        os._exit(code)
    os.close(writing)
    timer = threading.Timer(seconds, os.killpg, (child, signal.SIGKILL))
    timer.start()
    with os.fdopen(reading, errors="replace", newline="") as pipe:
        lines = re.sub(r"\x1b\[\w+|\r(?=\n)", "", pipe.read()).split("\n")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    timer.cancel()
    typed, *lines = [line.rpartition("\r")[2] for line in lines]  # a progress bar as it was in the end
    text = "\n".join(line for line in lines if line.strip())
    text = re.sub(rf"{re.escape(str(folder.parent))}/\w+", ".", text)
    for path in (sys.prefix, sys.base_prefix, str(PROJECT)):
        text = text.replace(path, "...")
    return Answer(typed, code, text)


def in_child(args: tuple[str, ...], prepare: Callable[[], object]) -> int:
    sys.stdout, sys.stderr = (open(n, "w", buffering=1, closefd=False) for n in (1, 2))  # noqa: SIM115
    try:
        prepare()
        sys.argv = ["main.py", *stock(args)]
        print(shlex.join(sys.argv[1:]))
    except BaseException:
        traceback.print_exc()
        return UNPREPARED
    try:
        # its own number of epochs is 1000, Kindling's 10
        LightningCLI(subclass_mode_model=True, subclass_mode_data=True, trainer_defaults={"max_epochs": 2})
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except BaseException as error:
        traceback.print_exception(error.with_traceback(error.__traceback__ and error.__traceback__.tb_next))
        return 1
    return 0


def said(text: str) -> dict[str, str]:
    """What a command said before it went on: the words without their numbers, and with them."""
    found = re.findall(r"\.py:\d+: (.*)", text)
    if not re.search(r"^Epoch \d", text, re.MULTILINE):
        found += re.findall(r"`Trainer.fit` stopped: .*", text)
    return {re.sub(r"\d+", "", words): words for words in found}


def outcome(answer: Answer, usual: set[str]) -> str:
    if answer.code == -signal.SIGKILL:
        return "hang"
    if "Traceback (most recent call last)" in answer.text:
        return "traceback"
    if answer.code == 0:
        return "warned, went on" if said(answer.text).keys() - usual else "silence"
    return "several lines" if answer.text.count("\n") >= 3 else "a clear line"


def row(mistake: Mistake, answer: Answer, result: str, usual: set[str]) -> str:
    lines = answer.text.split("\n")
    new = [words for key, words in said(answer.text).items() if key not in usual]
    last = new[0] if result == "warned, went on" else re.sub(r" *\[\d\d:\d\d<[^]]*\]", "", lines[-1])
    cells = (cell(mistake.what), f"`{cell(answer.typed)}`", result, str(answer.code), str(len(lines)), cell(last))
    return f"| {' | '.join(cells)} |"


def cell(text: str, most: int = 120) -> str:
    text = " ".join(text.split())
    text = text if len(text) <= most else f"{text[: most - 3]}..."
    return text.replace("|", "\\|").replace("<", "&lt;")


def answers(place: Path) -> Iterator[tuple[Mistake, Answer, str, set[str]]]:
    """Every case but those of what only Kindling has; with them the warnings that right commands print."""
    conftest, files = (importlib.import_module(name) for name in ("conftest", "test_bad_files"))
    fashion = partial(conftest.fashion.__wrapped__, pytest.MonkeyPatch())
    alone = partial(conftest._alone.__wrapped__, Path(), pytest.MonkeyPatch())
    trained: dict[str, tuple[tuple[str, ...], Callable[[], object] | None]] = {
        "run": (("fit", "--model=SimpleNet"), None),
        "net": (files.NET, fashion),
        "table_run": (files.FIT, files.written(files.TABLE)),
    }
    usual: set[str] = set()
    for name, (args, prepare) in trained.items():
        folder, spare = place / name, place / "spare"
        folder.mkdir()
        right = [run(folder, args, partial(in_turn, alone, prepare))]
        next(folder.glob(f"{RUN}/checkpoints/*.ckpt")).rename(folder / BEST)
        shutil.copytree(folder, spare)
        right += [run(spare, (command, "--ckpt_path=best"), alone) for command in COMMANDS[1:]]
        right += [run(spare, (*args, "--optimizer=Adam", "--trainer.max_epochs=1"), alone)]
        if any(answer.code for answer in right):
            raise RuntimeError("\n".join(f"{a.typed} ended with {a.code}: {a.text}" for a in right if a.code))
        usual |= {key for answer in right for key in said(answer.text)}
        shutil.rmtree(spare)
        shutil.rmtree(folder / "data", ignore_errors=True)
    for n, mistake in enumerate(mistakes()):
        if mistake.what in OUR_CHECKPOINTS or any(OURS.fullmatch(arg) for arg in mistake.args):
            continue
        folder = place / f"case{n}"
        folder.mkdir()
        for name in trained.keys() & mistake.needs:
            shutil.copytree(place / name, folder, dirs_exist_ok=True)
        images = fashion if {"fashion", "net"} & mistake.needs or "FashionMNIST" in mistake.args else None
        answer = run(folder, mistake.args, partial(in_turn, alone, images, mistake.prepare))
        if answer.code == UNPREPARED:
            raise RuntimeError(f"{mistake.what}: {answer.text}")
        left_out = answer.code == 0 and (mistake.what in RIGHT or mistake.section == "Places")
        yield mistake, answer, "left out" if left_out else outcome(answer, usual), usual


def main() -> None:
    sys.path.insert(0, str(PROJECT / "tests"))
    for package, names in ((kindling.models, MODELS), (kindling.data, DATA)):
        for name in names:
            getattr(package, name)  # LightningCLI knows by name what was imported
    counts: Counter[str] = Counter()
    sections: dict[str, list[str]] = {}
    inner = 0
    with TemporaryDirectory() as place:
        for mistake, answer, result, usual in answers(Path(place)):
            counts[result] += 1
            inner += bool(re.search(r"^kindling\.[\w.]+Error: ", answer.text, re.MULTILINE))
            sections.setdefault(mistake.section, []).append(row(mistake, answer, result, usual))
            print(f"{result:16}{mistake.what}", flush=True)
    left_out = counts.pop("left out")
    total = counts.total()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("lightning", "torch", "jsonargparse"))
    head = HEAD.format(
        conditions=f"{datetime.date.today()}: {libraries}",
        rules="\n".join(f"- {name}: {rule}" for name, rule in OUTCOMES.items()),
        ours=sum(1 for _ in mistakes()) - total - left_out,
        right=left_out,
        inner=inner,
        summary="\n".join(f"| {n} | {counts[n]} | {total if n == 'a clear line' else 0} |" for n in OUTCOMES),
    )
    columns = "| what | typed | outcome | exit code | lines | last line, or the warning |\n|---|---|---|---|---|---|\n"
    parts = [f"## {name}\n\n{columns}" + "\n".join(rows) + "\n" for name, rows in sections.items()]
    PAGE.write_text("\n".join((head, *parts)), encoding="utf-8")
    print(f"{dict(counts)} -> {PAGE}")


if __name__ == "__main__":
    main()
