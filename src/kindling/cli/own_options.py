"""The options that a command has beside those that all have, without torch."""

import argparse
from typing import Any

from kindling.cli import commands
from kindling.cli.arguments import Request
from kindling.errors import UsageError


def read_own_options(request: Request) -> dict[str, Any]:
    """The value of each, as the command's function has it.

    Raises:
        UsageError: One has a value that it can't have.
    """
    from jsonargparse import ArgumentParser  # late, as most commands have it from Lightning

    from kindling.cli.parser_errors import explain

    command = request.command
    parser = ArgumentParser(exit_on_error=False)
    parser.add_function_arguments(commands.function(command), skip={*commands.TAKEN})
    given = {name: request.value(name) for name in commands.own_options(command) if request.has(name)}
    try:
        return vars(parser.parse_args([f"--{name}={value}" for name, value in given.items()]))
    except argparse.ArgumentError as error:
        raise UsageError(explain(str(error))) from error
