"""``scripts/main.py`` with the tests' own network and dataset, for the tests that start programs."""

import sys

import tiny  # noqa: F401

from kindling.cli import main

if __name__ == "__main__":
    sys.exit(main())
