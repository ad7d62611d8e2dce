"""Gate: closing waits for those inside, and lets nobody in."""

from __future__ import annotations

import threading

import pytest

from llamabind.errors import HandleClosedError
from llamabind.system.close_guard import Gate


def test_closing_waits_until_the_last_has_left():
    gate, closed = Gate("door"), threading.Event()

    def close() -> None:
        gate.close()
        closed.set()

    closer = threading.Thread(target=close)
    with gate.entered(), gate.entered():
        closer.start()
        assert not closed.wait(0.01)
    assert closed.wait(20)
    closer.join(20)


def test_nobody_enters_a_closed_gate():
    gate = Gate("door")
    gate.close()
    gate.close()
    with pytest.raises(HandleClosedError, match="the door is closed"), gate.entered():
        pass


def test_an_exception_inside_leaves_too():
    gate = Gate("door")
    with pytest.raises(ValueError, match="no"), gate.entered():
        raise ValueError("no")
    gate.close()
