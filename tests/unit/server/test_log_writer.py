"""LogWriter: the end of a writer that could not start."""

import threading

import pytest

from server.log_writer import LogWriter


def test_a_writer_whose_thread_could_not_start_can_be_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    writer = LogWriter.__new__(LogWriter)
    with pytest.raises(RuntimeError, match="new thread"):
        LogWriter.__init__(writer, 2)
    writer.close()  # as `logging` does when the process exits
