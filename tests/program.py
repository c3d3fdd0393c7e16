"""``scripts/main.py`` with the tests' own network and dataset, for the tests that start programs."""

import tiny  # noqa: F401

from kindling.cli import script

if __name__ == "__main__":
    script()
