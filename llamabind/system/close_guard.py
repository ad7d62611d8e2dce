"""Gate: lets many threads use what one of them may close."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llamabind.errors import HandleClosedError

if TYPE_CHECKING:
    from collections.abc import Iterator


class CloseGuard:
    """Open until close(), which waits for whoever is inside. Any thread.

    Native code that is given a freed object ends the process; so whatever uses an object that
    another thread may close does it inside.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._n_inside = 0
        self._is_closed = False

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Keep what lies behind from being freed meanwhile. Raises HandleClosedError."""
        with self._changed:
            if self._is_closed:
                raise HandleClosedError(f"the {self._name} is closed")
            self._n_inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._n_inside -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Let nobody in any more and wait until all have left."""
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: self._n_inside == 0)
