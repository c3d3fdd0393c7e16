"""Sweeps: bad input of ``sweep``, answered before anything is trained."""

import sys

import pytest
from conftest import Kindling
from errors_page import Case

from kindling.sweep.workers import cores

SWEEP = ("sweep", "--model", "SimpleNet")
NOWHERE = "postgresql://me:secret@127.0.0.1:1/name"


def sweep(what: str, option: str, values: str, says: str) -> Case:
    return Case(what, (*SWEEP, f"--vary.{option}", values), says)


def typed(what: str, says: str, *more: str) -> Case:
    return Case(what, (*SWEEP, "--vary.lr", "0.1..0.2", *more), says)


CASES = [
    Case("nothing varied", SWEEP, "add e.g. --vary.lr '1e-4..1 log'"),
    Case("no network", ("sweep", "--vary.lr", "0.1..1"), "sweep needs a network: add --model NAME"),
    Case("vary in another command", ("fit", "--model", "SimpleNet", "--vary.lr", "0..1"), "vary is for sweep, not"),
    Case("likewise an option of sweep", ("fit", "--model", "SimpleNet", "--trials", "3"), "an option of sweep, not of"),
    sweep("an option that isn't there", "lerning_rate", "0.1..1", "no option --vary.lerning_rate"),
    sweep("of the network", "model.hiden", "8..16", "did you mean --vary.model.hidden?"),
    sweep("a class that isn't there", "optimizer", "[SDG, Adam]", "did you mean SGD?"),
    sweep("no range", "lr", "small", "write a range, 1e-4..1 log, 8..128 or 0..1 step 0.1, or choices"),
    sweep("an empty range", "lr", "1..0.1", "the first number has to be below the second"),
    sweep("log of 0", "lr", "0..1 log", "a logarithmic range begins above 0"),
    sweep("a step beyond the range", "lr", "0..1 step 2", "the step has to be above 0, and within the range"),
    sweep("a choice of one", "lr", "[0.1]", "one choice is nothing to vary"),
    sweep("a choice twice", "lr", "[0.1, 0.1]", "0.1 stands there twice"),
    sweep("the seed", "seed", "1..5", "the best of several seeds is luck"),
    sweep("the trainer's folder", "trainer.default_root_dir", "[a, b]", "trials lie in the folder of the sweep"),
    sweep("the split", "data.seed", "1..5", "validated on other samples can't be compared"),
    Case("a range without quotes", (*SWEEP, "--vary.lr", "1e-4..1", "log"), "put the range into quotes: --vary.lr"),
    typed("varied and given", "--optimizer.lr is given, and --vary.optimizer.lr too", "--lr", "0.1"),
    typed("no trials", "--trials 0: should be at least 1", "--trials", "0"),
    typed("trials that are no number", "--trials many: should be int", "--trials", "many"),
    typed("no such sampler", "there are TPE, Random", "--sampler", "Best"),
    typed("no such pruner", "there are Median, Hyperband", "--pruner", "Best"),
    typed("a grid of a range without steps", "needs a step, or choices", "--sampler", "Grid"),
    typed("a pruner of several objectives", "no trial can be ended early", "--objectives", "a,b", "--pruner", "Median"),
    typed("objectives and a monitor", "drop --monitor", "--objectives", "a,ms_per_sample", "--monitor", "val/acc"),
    typed("another database", "is typed as postgresql://USER:PASSWORD@HOST/NAME", "--storage", "mysql://host/name"),
    typed("no database", "is typed as postgresql://USER:PASSWORD@HOST/NAME", "--storage", "postgresql://me@host"),
    typed("a password with an @", "in the password is typed as %40", "--storage", "postgresql://me:p@ss@host/name"),
    typed("no server there", "me:***@127.0.0.1:1/name: Connection refused", "--storage", NOWHERE),
    typed("fast_dev_run", "a trial needs scores", "--trainer.fast_dev_run", "true"),
    typed("print_config", "type it with fit", "--print_config"),
    Case("no sweep to go on with", ("sweep", "--ckpt_path", "last"), "there is no such sweep"),
]
SEEN_BY_A_WORKER = [
    sweep("an end that the option refuses", "lr", "-1..1", "--optimizer.lr -1.0: should be above 0"),
    sweep("a choice that it refuses", "trainer.max_epochs", "[2, x]", "--trainer.max_epochs x: should be int"),
    sweep("an option that the class lacks", "optimizer.momentum", "0..0.9", "no option --optimizer.momentum"),
    sweep("an end that the network refuses", "model.hidden", "0..8", "--model.hidden 0"),
    Case(
        "an option that no class has",
        (*SWEEP, "--vary.optimizer", "[Adam, AdamW]", "--vary.optimizer.momentum", "0..0.9"),
        "none of Adam, AdamW has it",
    ),
]


def test_more_jobs_than_cores(kindling: Kindling) -> None:
    line = kindling.fails(*SWEEP, "--vary.lr", "0.1..1", "--jobs", "4096")
    assert f"--jobs 4096: there are {cores()} CPU cores here, so at most as many jobs" in line


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_bad_sweeps(kindling: Kindling, case: Case) -> None:
    kindling.answers("Sweeps", case)


@pytest.mark.slow
@pytest.mark.parametrize("case", SEEN_BY_A_WORKER, ids=lambda case: case.what)
def test_bad_sweeps_as_a_worker_sees_them(kindling: Kindling, forked: None, case: Case) -> None:
    kindling.answers("Sweeps", case)


def test_a_driver_that_is_not_installed(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    error = kindling.fails(*SWEEP, "--vary.lr", "0.1..0.2", "--storage", NOWHERE)
    assert "PostgreSQL needs psycopg: pip install -e '.[postgres]'" in error
