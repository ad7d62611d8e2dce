"""state_file: where the command keeps its history, conversations and the log of its server."""

import os
from pathlib import Path
from typing import Final

_NAME: Final = "llamabind"


def state_file(name: str) -> Path:
    """The path of a file in the user's state folder, which is made if it is missing.

    $XDG_STATE_HOME/llamabind, by default ~/.local/state/llamabind; only the user may read it.
    Raises OSError.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification says that relative paths are ignored.
    root = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    folder = root / _NAME
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    return path
