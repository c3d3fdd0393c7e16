"""The parser of the commands that take words instead of options: new, update and eject."""

import argparse
from typing import NoReturn

from kindling.cli import commands, process
from kindling.errors import UsageError


class Words(argparse.ArgumentParser):
    """One line for a mistake, as all commands have."""

    def __init__(self, command: str, example: str, epilog: str) -> None:
        """Start without arguments.

        Args:
            command: Its name.
            example: What is typed after the name, for the message about a mistake.
            epilog: What ``--help`` ends with.
        """
        raw = argparse.RawDescriptionHelpFormatter
        program = f"{process.program()} {command}"
        super().__init__(program, description=commands.summary(command), epilog=epilog, formatter_class=raw)
        self.example = f"{program} {example}".rstrip()

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError."""
        raise UsageError(f"{message}: type e.g. {self.example}")
