"""The commands. A new one is one file here, with a function of its name, and one word in COMMANDS.

The arguments of the function are the command's own options, with the help text of its docstring; the first, ``job``,
is what ``training`` makes of the options that all commands have. Nothing here imports torch before it is needed.
"""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

COMMANDS = ("fit", "test", "validate", "predict", "export", "lr_find", "list")


def function(command: str) -> Callable[..., Any]:
    """What carries the command out."""
    found: Callable[..., Any] = getattr(import_module(f"{__name__}.{command}"), command)
    return found


def own_options(command: str) -> list[str]:
    """Names of the options that this command has beside those that all have."""
    return [name for name in inspect.signature(function(command)).parameters if name != "job"]


def summary(command: str) -> str:
    """First line of its docstring, which ``--help`` shows."""
    return (inspect.getdoc(function(command)) or "").partition("\n")[0]
