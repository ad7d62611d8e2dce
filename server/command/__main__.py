"""`python -m server.command` is the command `llamabind`."""

import sys

from server.command.main import main

if __name__ == "__main__":
    sys.exit(main())
