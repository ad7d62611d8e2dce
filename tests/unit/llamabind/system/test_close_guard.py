"""CloseGuard: closing waits for the threads inside and refuses new entries."""

from __future__ import annotations

import threading

import pytest

from llamabind.errors import HandleClosedError
from llamabind.system.close_guard import CloseGuard


def test_closing_waits_until_the_last_has_left():
    guard, closed = CloseGuard("door"), threading.Event()

    def close() -> None:
        guard.close()
        closed.set()

    closer = threading.Thread(target=close)
    with guard.entered(), guard.entered():
        closer.start()
        assert not closed.wait(0.01)
    assert closed.wait(20)
    closer.join(20)


def test_a_closed_guard_refuses_entry():
    guard = CloseGuard("door")
    guard.close()
    guard.close()
    with pytest.raises(HandleClosedError, match="the door is closed"), guard.entered():
        pass


def test_an_exception_inside_leaves_the_guard():
    guard = CloseGuard("door")
    with pytest.raises(ValueError, match="no"), guard.entered():
        raise ValueError("no")
    guard.close()
