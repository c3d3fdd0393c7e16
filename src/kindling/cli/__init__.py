"""The command line: what is typed, and one function for each command."""

from kindling.cli.entry import main, script

__all__ = ["main", "script"]
