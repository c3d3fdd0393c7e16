"""The front door: what needs no torch is answered here, in a fraction of a second; the rest goes to ``run``."""

import atexit
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from kindling import __version__, project
from kindling.cli import arguments, commands, help, process, system_errors
from kindling.cli.arguments import Request
from kindling.cli.own_options import read_own_options
from kindling.console import waiting
from kindling.errors import RunError, UsageError
from kindling.registry import Entry
from kindling.runs import find
from kindling.runs.folder import LOGS
from kindling.startup import quick_imports

TRAINED = ("test", "validate", "predict", "export", "serve")  # the commands that need a trained network


def script(**own: Any) -> NoReturn:
    """Run the process's command, then end it without freeing torch's half a million objects, which takes a second.

    Args:
        own: As for ``main``.
    """
    codes: list[int] = []  # empty where an exception ends the command

    def end() -> None:
        if codes:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
            os._exit(codes[0])

    atexit.register(end)  # what is registered first is called last
    codes.append(main(**own))
    sys.exit(codes[0])


def main(
    args: list[str] | None = None,
    *,
    name: str | None = None,
    models: Mapping[str, Entry] | None = None,
    data: Mapping[str, Entry] | None = None,
) -> int:
    """Run one command.

    Args:
        args: The command and its options; those of the process by default.
        name: What a project of one's own and its package are called; Kindling's by default.
        models: Its networks by the names of their classes, which ``--model`` then takes; Kindling's by default.
        data: Its datasets, likewise.

    Returns:
        The exit code, as ``process.exit_code`` says.
    """
    project.use(name, models, data)
    args = sys.argv[1:] if args is None else args
    if sys.stderr is None or not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # other people's bars; ours stays away by itself
    return process.exit_code(lambda: _run(args))


@system_errors.answered()
def _run(args: list[str]) -> int:
    program = process.program()
    if not args:
        network = next(iter(project.current().models), "NAME")
        raise UsageError(f"no command: type e.g. {program} fit --model {network} (--help shows more)")
    if args[0] in ("-h", "--help"):
        print(help.of_program(program), end="")
        return 0
    if args[0] == "--version":
        print(f"kindling {__version__}")
        return 0
    if args[0] in commands.ON_SOURCES:
        commands.function(args[0])(args[1:])
        return 0
    request = arguments.parse(args)
    if request.wants_help and (text := help.answer(request, program)):
        print(text, end="")
        return 0
    if request.command == "list":
        commands.function(request.command)()
        return 0
    arguments.check_environment(os.environ)
    if "" not in sys.path:
        sys.path.append("")  # --model mine.Net is of the current folder; last, so that it hides no package
    if request.command == "sweep" and not request.wants_help:
        if not (request.has("model", "ckpt_path") or "model" in request.vary):
            raise UsageError(f"sweep needs a network: {_add()}")
        commands.function("sweep")(request, **read_own_options(request))
        return 0
    is_exported = request.command == "serve" and request.has("export")
    if is_exported and request.has("ckpt_path", "model"):
        raise UsageError("--export names what is served: leave out --ckpt_path and --model")
    checkpoint = None if request.wants_help or is_exported else _checkpoint(request, program)
    if request.command == "serve" and not request.wants_help:
        commands.function("serve")(request, checkpoint, **read_own_options(request))
        return 0

    with waiting("Importing torch and Lightning"), quick_imports():
        from kindling.cli.run import run
    return run(request, checkpoint, program)


def _add() -> str:
    return f"add --model NAME: there are {', '.join(project.current().models)}"


def _checkpoint(request: Request, program: str) -> find.Checkpoint | None:
    """The checkpoint that the command starts from; None for training from scratch."""
    wanted = request.value("ckpt_path")
    if request.command == "lr_find" and wanted is not None:
        raise UsageError("lr_find starts from new weights: leave out --ckpt_path")
    resume = request.command == "fit"
    if wanted is None and request.command in TRAINED:
        raise RunError(f"{request.command} needs a trained network: add --ckpt_path best (or last, a run, a file)")
    if (wanted is None or (resume and wanted == "auto")) and not request.has("model"):
        raise UsageError(f"{request.command} needs a network: {_add()}")
    if wanted is None:
        return None
    logs = Path(str(request.value("trainer.default_root_dir") or "")) / LOGS
    model = (request.value("model") or "").rpartition(".")[2] or None
    if not resume:
        return find.find(str(wanted), logs, model=model, program=program)
    limits = {name: request.value(f"trainer.{name}") for name in find.LIMITS}
    return find.find_to_resume(str(wanted), logs, limits=limits, model=model, program=program)
