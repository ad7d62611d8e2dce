"""`python -m server`: starts a worker process, and imports the server while the worker imports."""

import sys
from collections.abc import Sequence

# With these flags the process prints text and ends, so no worker is started.
_NO_SERVER = frozenset({"-h", "--help", "--version", "--list-devices"})


def main(arguments: Sequence[str] | None = None, program: str = "python -m server") -> int:
    """Run the server with `arguments`, by default those of the process; return the exit status, 1
    if the server cannot start. A wrong flag exits with 2. Messages and --help call it `program`.
    """
    words = sys.argv[1:] if arguments is None else arguments
    try:
        # All imports are in functions: a Ctrl-C meanwhile gets no traceback, nor does one while a
        # model is downloaded. Later the server handles the signal.
        from llamabind.system.program import run_program
    except KeyboardInterrupt:
        return 130
    return run_program(lambda: _start(words, program))


def _start(words: Sequence[str], program: str) -> int:
    from llamabind.system.quick_imports import quick_imports
    from server.supervisor.early_worker import EarlyWorker

    early = None
    try:
        if not _NO_SERVER.intersection(words):
            early = EarlyWorker.start()
        # After the worker has started: its own imports take equally long.
        with quick_imports():
            from server.start.run import run

        return run(words, program, early)
    finally:
        if early is not None:
            early.end()


if __name__ == "__main__":
    sys.exit(main())
