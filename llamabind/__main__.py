"""`python -m llamabind` is the command `llamabind`: see llamabind/cli."""

import sys

from llamabind.cli import main

if __name__ == "__main__":
    sys.exit(main())
