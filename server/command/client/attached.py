"""`python -m server.command.client.attached`: a server that ends when its parent does.

Its stdin is a pipe whose other end only the parent holds: the pipe is closed when the parent ends,
also by SIGKILL. The server then ends as by SIGTERM; the second signal ends it without waiting, and
SIGKILL one that hangs.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

_GRACE_SECONDS: Final = 3.0


def main() -> int:
    """Serve with the process's arguments; returns the exit status."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from server.__main__ import main as serve

    arguments = sys.argv[1:]
    try:
        return serve(arguments, "llamabind")
    finally:
        # The parent removes the socket's folder, but not if it was killed.
        with contextlib.suppress(OSError):
            Path(arguments[arguments.index("--host") + 1]).parent.rmdir()


def _end_with_parent() -> None:
    try:
        while os.read(0, 4096):
            pass
    finally:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            os.kill(os.getpid(), number)
            time.sleep(_GRACE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
