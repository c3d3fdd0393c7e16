"""The commands. A new one is one file here, with a function of its name, and one word in COMMANDS.

The arguments of the function are the command's own options, with the help text of its docstring; the first, ``job``,
is what ``training`` makes of the options that all commands have. ``sweep`` and ``serve``, which need no torch
themselves, have ``request``, what was typed, instead. Nothing here imports torch before it is needed.
"""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

COMMANDS = ("fit", "test", "validate", "predict", "export", "lr_find", "sweep", "serve", "list")
ON_SOURCES = ("new", "update", "eject")  # which write into a project, and take words instead of options
TAKEN = ("job", "request", "checkpoint")  # arguments that are no options


def function(command: str) -> Callable[..., Any]:
    """What carries the command out."""
    found: Callable[..., Any] = getattr(import_module(f"{__name__}.{command}"), command)
    return found


def own_options(command: str) -> list[str]:
    """Names of the options that this command has beside those that all have."""
    return [name for name in inspect.signature(function(command)).parameters if name not in TAKEN]


def flags(command: str) -> list[str]:
    """Those of them that are true or false."""
    parameters = inspect.signature(function(command)).parameters
    return [name for name in own_options(command) if parameters[name].annotation is bool]


def summary(command: str) -> str:
    """First line of its docstring, which ``--help`` shows."""
    return (inspect.getdoc(function(command)) or "").partition("\n")[0]
