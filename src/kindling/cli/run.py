"""One command, from its options to its end; what goes wrong on the way becomes one line."""

import argparse
import inspect
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import takewhile
from os import environ
from pathlib import Path
from traceback import walk_tb
from typing import Any

import torch.distributed as dist
import yaml
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser

from kindling.callbacks.resume import mid_epoch
from kindling.cli import commands, options, process, system_errors, tracebacks
from kindling.cli.arguments import CLASS_OPTIONS, SAVED_BY_FIT, Request
from kindling.cli.parser import make_parser, make_parts, parse
from kindling.cli.parser_errors import explain
from kindling.console import is_first_process, waiting
from kindling.data.base import DataModule
from kindling.errors import CheckpointError, UsageError
from kindling.registry import import_class
from kindling.runs.find import Checkpoint
from kindling.runs.trust import Options
from kindling.tasks import losses
from kindling.training.job import Job, Start, make_job
from kindling.training.session import session
from kindling.training.trainer import finishing

SAVED = ("seed_everything", "trainer", *CLASS_OPTIONS, *SAVED_BY_FIT)  # what makes a run what it is


@system_errors.said_once()
def run(
    request: Request,
    checkpoint: Checkpoint | None,
    program: str,
    then: Callable[[Job], object] | None = None,
) -> int:
    """Carry out one command, from a checkpoint if there is one, and return its exit code.

    Args:
        then: What is done with the job instead of the command itself.

    Raises:
        KindlingError: The user has something to mend.
    """
    try:
        with system_errors.answered():
            _carry_out(request, checkpoint, program, then)
    except SystemExit as stop:
        if stop.code != 0:
            raise
        return 0  # --help or --print_config
    except argparse.ArgumentError as error:
        raise UsageError(explain(str(error))) from error
    except MisconfigurationException as error:  # Lightning's word for options that don't go together
        raise UsageError(str(error)) from error
    except (AttributeError, LookupError, ModuleNotFoundError, RuntimeError, TypeError, ValueError) as error:
        frames = [frame.f_code for frame, _ in walk_tb(error.__traceback__)]
        files = [Path(code.co_filename).as_posix() for code in frames]
        restoring = any(code.co_name.startswith("restore") for code in frames)  # as Lightning names what hands it out
        if checkpoint and (restoring or Path(mid_epoch.__file__).as_posix() in files or _by_optimizer(files)):
            what = f"{checkpoint.file} holds a state that does not fit ({error}): take another"
            raise CheckpointError(what) from error
        if _by_optimizer(files):
            raise UsageError(f"--optimizer: {error}") from error
        # of Lightning's, or of a package that it looked for, the words are about options
        raised_in = next(file for file in reversed(files) if not file.endswith("nn/modules/module.py"))
        by_lightning = isinstance(error, ModuleNotFoundError) or "/lightning/pytorch/" in raised_in
        if tracebacks.of_user(error) or not by_lightning:
            raise
        raise UsageError(explain(str(error))) from error
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()  # gloo's threads, left to the interpreter's end, at times abort it
    return 0


def _carry_out(
    request: Request, checkpoint: Checkpoint | None, program: str, then: Callable[[Job], object] | None
) -> None:
    if then is None and _wants_all_folds(request, checkpoint):
        from kindling.cli import folds  # late, as few commands need it and what it imports

        folds.fit(request, checkpoint, partial(_prepared, program=program))
        return
    with _prepared(request, checkpoint, program=program) as (job, own):
        if then is not None:
            then(job)
        else:
            commands.function(request.command)(job, **own)


def _wants_all_folds(request: Request, checkpoint: Checkpoint | None) -> bool:
    """Whether all folds are to be trained: a folder of them is resumed, or their number is given, and none is named."""
    if checkpoint is not None:
        return request.command == "fit" and checkpoint.file == checkpoint.run.config_file
    only_shown = request.wants_help or any(option.key == "print_config" for option in request.options)
    named, data = request.has("data.fold"), request.value("data")
    if request.command != "fit" or only_shown or named or not request.has("data.folds") or data in (None, "null"):
        return False
    kind = import_class(data, "--data")
    return issubclass(kind, DataModule) and "fold" in inspect.signature(kind).parameters


@contextmanager
def _prepared(request: Request, checkpoint: Checkpoint | None, *, program: str) -> Iterator[tuple[Job, dict[str, Any]]]:
    """What one command works with, and the options that it has beside those that all have."""
    command = request.command
    start = Start.read(checkpoint) if checkpoint else None
    parser, config, kept = parsed(request, start)
    with session(kept["seed_everything"]):
        loss = losses.make_loss(kept["loss"])
        try:
            parts = make_parts(parser, config)
        except ValueError as error:
            inner = error.__cause__ or error  # jsonargparse wraps what a class, e.g. a callback, raised
            if type(inner) is not ValueError or tracebacks.of_user(inner):
                raise inner from error
            # where it is one of a list, only the outer error says why
            made = re.search(r"Problem with given class_path '(.+?)':\s+.+", f"{inner}\n{error}")
            of = [f"--trainer.{key}" for key, value in kept["trainer"].items() if made and made[1] in str(value)]
            raise UsageError(" ".join([*of, explain(made[0] if made else str(inner))])) from error
        with waiting("Preparing network and data"):
            job = make_job(command, kept, **parts, loss=loss, start=start, program=program)
        process.ENDED_TOO.append(job.end_other_processes)
        try:
            with finishing(job):
                yield job, {name: config[name] for name in commands.own_options(command)}
        finally:
            with suppress(ValueError):  # cleared by a command in another thread
                process.ENDED_TOO.remove(job.end_other_processes)  # with which the job would stay in memory


def parsed(request: Request, start: Start | None = None) -> tuple[LightningArgumentParser, Namespace, Options]:
    """The parser of a command, what it makes of the options, and those of them that a run keeps.

    Raises:
        UsageError: An option has a value that it can't have; or another error, which ``run`` explains.
    """
    restored = options.of_run(start.content.get("config", {}), request) if start else {}
    taken = options.to_restore(restored, request, start.checkpoint) if start and start.checkpoint else {}
    parser = make_parser(request.command)
    try:
        config = parse(parser, request, taken, start)
    except (argparse.ArgumentError, CheckpointError):
        make_parser.cache_clear()  # a --print_config before what was refused is kept in the parser
        raise
    if config["seed_everything"] is True:
        config["seed_everything"] = _draw_seed()
    found = yaml.safe_load(parser.dump(config, skip_unset=False))
    options.check(found, request.command)
    return parser, config, options.spelled({key: found[key] for key in SAVED})


def _by_optimizer(files: list[str]) -> bool:
    """Whether torch's optimizer raised it, not the network that an LBFGS calls."""
    innermost = takewhile(lambda file: "lightning" not in file, reversed(files))
    return any("/torch/optim/" in file for file in innermost)


def _draw_seed() -> int:
    """A random seed, the same in all processes of one training."""
    if not is_first_process() and "PL_GLOBAL_SEED" in environ:  # started by the first process, after it drew
        return int(environ["PL_GLOBAL_SEED"])
    if int(environ.get("WORLD_SIZE", 1)) > 1:
        raise UsageError("--seed_everything true: processes started by torchrun can't agree on one, so give a number")
    seed = secrets.randbelow(2**32)
    print(f"Drew seed {seed}")
    return seed
