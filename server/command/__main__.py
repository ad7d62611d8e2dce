"""`python -m server.command` and the script `llamabind`."""

import sys


def main() -> int:
    """Run the command line; returns the exit status."""
    try:
        # All imports are in functions: a Ctrl-C meanwhile gets no traceback.
        from llamabind.system.program import run_program
    except KeyboardInterrupt:
        return 130
    return run_program(_import_and_run)


def _import_and_run() -> int:
    from server.command.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
