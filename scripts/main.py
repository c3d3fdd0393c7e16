"""The command line, from a clone: python scripts/main.py fit --model SimpleNet"""

import sys

try:
    from kindling.cli import script
except ModuleNotFoundError as error:
    print(f"kindling: error: {error}: type  make train  or  pip install -e .", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    script()
