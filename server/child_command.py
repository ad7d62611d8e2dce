"""child_command: the commands of processes that run a module of this package."""

import sys
from pathlib import Path

_SOURCE = Path(__file__).resolve().parents[1]


def child_command(module: str) -> tuple[str, ...]:
    """The command that runs `module` with this interpreter."""
    # -P keeps a server.py in the current folder from being imported in place of this package.
    safe = ("-P",) if sys.flags.safe_path or Path.cwd() != _SOURCE else ()
    return (sys.executable, *safe, "-m", module)
