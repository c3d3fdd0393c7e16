"""The command line, from a clone: python scripts/main.py fit --model SimpleNet"""

import sys

try:
    from kindling.cli import main
except ModuleNotFoundError as error:
    sys.exit(f"{error}: install the project first, with  make train  or  pip install -e .")

if __name__ == "__main__":
    sys.exit(main())
