"""The command line: what is typed, and one function for each command."""

from kindling.cli.entry import main

__all__ = ["main"]
