"""CloseGuard: lets many threads use an object that one of them may close."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llamabind.errors import HandleClosedError

if TYPE_CHECKING:
    from collections.abc import Iterator


class CloseGuard:
    """Counts the threads inside entered(); close() waits until they have left. Any thread.

    Native code crashes on a freed object, so code that uses an object which another thread may
    close does so inside entered().
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._n_inside = 0
        self._is_closed = False

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Delay close() until the `with` block ends. Raises HandleClosedError after close()."""
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
        """Refuse new entries and wait until all threads have left."""
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: self._n_inside == 0)
