"""The command line where only the package is there: python -m kindling serve --export FOLDER"""

from kindling.cli import script

if __name__ == "__main__":
    script()
