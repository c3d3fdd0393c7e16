"""``kindling.tune``, the door for Python to ``sweep``: what is given becomes options that other processes can read."""

import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningModule

from kindling.cli import arguments, sweeping
from kindling.cli.own_options import read_own_options
from kindling.data.base import is_plain
from kindling.errors import RunError, Stopped, UsageError
from kindling.registry import import_class, nearest, trainer_options
from kindling.runs.folder import winner
from kindling.sweep import space
from kindling.training import parts
from kindling.training.python import TrainedRun, reopen
from kindling.training.trainer import DEFAULT_SEED

PROGRAM = "kindling"  # the command, in messages


def tune(
    model: Any = None,
    data: Any = None,
    *,
    vary: Mapping[str, str | Iterable[Any]] | None = None,
    loss: Any = None,
    optimizer: Any = None,
    lr_scheduler: Any = None,
    seed: int | None = DEFAULT_SEED,
    resume: str | Path | None = None,
    **options: Any,
) -> TrainedRun:
    """Train a network many times with other options, as the command ``sweep`` does, and return the best run.

        vary = {"lr": "1e-4..1 log", "model.hidden": [16, 64]}
        best = kindling.tune(kindling.models.SimpleNet, kindling.data.SyntheticTabular, vary=vary, trials=8)
        best.test()

    The trials are trained by processes of their own. Network, data and the other parts are therefore names, classes of
    files, or ``functools.partial`` of such a class with numbers and texts; data and loss may be objects of such.

    Args:
        model: The network.
        data: A class of data; None for a network that brings its own.
        vary: Each option that is varied, as it is typed after ``--vary.``, with its range or its choices.
        loss: As for ``kindling.fit``, as are ``optimizer`` and ``lr_scheduler``.
        optimizer: None for the network's own, usually Adam.
        lr_scheduler: Likewise.
        seed: Of each trial, and of what is tried; None for trainings that differ each time.
        resume: The folder of a sweep to go on with, or ``last`` for the newest. It goes on as it was begun, but with
            other ``trials``, ``jobs``, ``keep``, ``test_best`` and ``storage``. What else was given can be left out,
            but for classes of your own.
        options: Those of the command: ``trials``, ``jobs``, ``sampler``, ``pruner``, ``objectives``, ``seeds``,
            ``keep``, ``storage``, ``name`` and ``test_best``; those of ``kindling.fit``: ``monitor``, ``mode``,
            ``threshold`` and ``checkpoint_every``; and any of Lightning's Trainer, such as ``max_epochs``.

    Returns:
        The run of the best trial. ``best.folder.parent`` is the folder of the sweep, with ``sweep.csv`` in it.

    Raises:
        KindlingError: Something is to be mended; its message says what and how.
        KeyboardInterrupt: After Ctrl-C, or the button that interrupts a notebook. ``resume="last"`` goes on.
    """
    given = {"model": model, "data": data, "loss": loss, "optimizer": optimizer, "lr_scheduler": lr_scheduler}
    is_new = resume is None
    if is_new and model is None:
        raise UsageError("kindling.tune needs a network: give its class")
    if is_new and not vary:
        raise UsageError("kindling.tune varies nothing: give e.g. vary={'lr': '1e-4..1 log', 'model.hidden': [16, 64]}")
    args = ["sweep", *_options(options)]
    args += [] if is_new else [f"--ckpt_path={resume}"]
    args += [f"--seed_everything={'false' if seed is None else seed}"] if is_new or seed != DEFAULT_SEED else []
    args += [_part(kind, part) for kind, part in given.items() if part is not None or (kind == "data" and is_new)]
    args += [f"--vary.{option}={_typed(f'vary {option}', values)}" for option, values in (vary or {}).items()]
    request = arguments.parse(args)
    script = Path(sys.modules["kindling"].__file__ or "").with_name("__main__.py")
    try:
        folder = sweeping.run(request, read_own_options(request), PROGRAM, str(script))
    except Stopped as stop:
        if stop.code != 130:  # a signal to end the whole program
            raise
        raise KeyboardInterrupt from None
    best = winner(folder)
    if best is None:
        raise RunError(f"the best trial of {folder} is on another machine: {folder / 'sweep.csv'} tells which")
    return reopen(best)


def _options(options: Mapping[str, Any]) -> list[str]:
    """As they are typed.

    Raises:
        UsageError: One does not exist, or is an object.
    """
    trainer, beside = trainer_options(), (*sweeping.OWN, *arguments.SAVED_BY_FIT)
    args = []
    for name, value in options.items():
        if name not in (*trainer, *beside):
            raise UsageError(f"kindling.tune has no option {name!r}{nearest(name, [*trainer, *beside, 'seed'])}")
        if value is not None:
            args.append(f"--{name if name in beside else f'trainer.{name}'}={_typed(name, value)}")
    return args


def _typed(name: str, value: Any) -> str:
    """
    Raises:
        UsageError: It is an object.
    """
    if hasattr(value, "tolist"):  # of NumPy
        value = value.tolist()
    elif isinstance(value, Iterable) and not isinstance(value, str | Mapping):
        value = list(value)
    if not is_plain(value):
        raise UsageError(f"kindling.tune: {name} is for other processes, so give it as numbers and texts: {value!r}")
    return space.typed(parts.plain(value))


def _part(kind: str, part: Any) -> str:
    """A part as an option: its class and what is given to it.

    Raises:
        UsageError: Another process could not make it.
    """
    if part is None:
        return f"--{kind}=null"
    made = parts.named(kind, part)
    of = getattr(made, "func", made if inspect.isclass(made) else type(made))
    if kind == "model" and isinstance(made, LightningModule):
        what = f"give {of.__name__}, or functools.partial of it, in place of an object"
        raise UsageError(f"kindling.tune makes a network for each trial: {what}")
    described = parts.describe(kind, made)
    if described is None or not is_plain(getattr(made, "keywords", {})):
        raise UsageError(
            f"kindling.tune: the {kind} is made of objects, which the processes of the trials can't be given: write a "
            "class that makes them itself, in a file, or call kindling.fit in a loop"
        )
    path = described["class_path"]
    if of.__module__ == "__main__" or "<locals>" in path or import_class(path, kind) is not of:
        raise UsageError(
            f"kindling.tune: the processes of the trials can't import {of.__name__}, the {kind}: move it into a file, "
            "such as mine.py, and import it from there, or call kindling.fit in a loop"
        )
    usual = (parts.describe(kind, of) or {}).get("init_args", {})  # an option that has its usual value can be varied
    own = {name: value for name, value in described["init_args"].items() if name not in usual or value != usual[name]}
    spec = json.loads(json.dumps({"class_path": path, "init_args": own}))  # NumPy's floats are no longer NumPy's
    return f"--{kind}={yaml.safe_dump(spec, default_flow_style=True, width=2**30, allow_unicode=True)}"
