"""LogWriter: a log handler that never waits for the reader of the log."""

import errno
import logging
import os
import select
import threading
from collections import deque

_MAX_BYTES = 1 << 20
"""Lines that wait for the writer thread, in bytes; further lines are dropped and counted."""

_RESUME_BYTES = _MAX_BYTES // 2
"""After a drop, lines are accepted again below this size, so that one notice covers many lines."""

_CLOSE_SECONDS = 1.0


class LogWriter(logging.Handler):
    """Formats records where they are logged and writes them to `fd` on a thread of its own.

    The write to a pipe without a reader, or to a file system that hangs, blocks only this thread.
    When lines were dropped, the log gets one line with their number once it flows again. Any
    thread may log.
    """

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._lines: deque[bytes] = deque()
        self._n_bytes = 0
        self._n_dropped = 0
        self._n_unreported = 0
        self._is_closing = False
        self._changed = threading.Condition(threading.Lock())
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def n_dropped(self) -> int:
        """Lines dropped since the start: the queue was full, or the write failed."""
        return self._n_dropped

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line, or drop it if the queue is full."""
        line = self._line(record)
        with self._changed:
            limit = _RESUME_BYTES if self._n_unreported else _MAX_BYTES
            if self._n_bytes + len(line) > limit or self._is_closing:
                self._drop(1)
                return
            if self._n_unreported:
                self._append(self._take_notice())
            self._append(line)
            self._changed.notify()

    def close(self) -> None:
        """Write what is queued, for at most a second, and end the thread if its write ends."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._thread.is_alive():  # not if the system refused to start it
            self._thread.join(_CLOSE_SECONDS)
        super().close()

    # -- the writer thread

    def _run(self) -> None:
        while (data := self._wait_for_lines()) is not None:
            try:
                _write_all(self._fd, data)
            except OSError:
                # A full disk, or a pipe whose reader has gone: there is no other place to report.
                with self._changed:
                    self._drop(data.count(b"\n"))

    def _wait_for_lines(self) -> bytes | None:
        """All queued lines, or the notice about dropped ones; None at the end."""
        with self._changed:
            while not self._lines and not self._is_closing:
                self._changed.wait()
            if not self._lines:
                return None
            data = b"".join(self._lines)
            self._lines.clear()
            self._n_bytes = 0
            # The dropped lines came after these; if later lines are rare, report them already now.
            return data + self._take_notice() if self._n_unreported else data

    # -- both; the lock is held

    def _append(self, line: bytes) -> None:
        self._lines.append(line)
        self._n_bytes += len(line)

    def _drop(self, n_lines: int) -> None:
        self._n_dropped += n_lines
        self._n_unreported += n_lines

    def _take_notice(self) -> bytes:
        count, self._n_unreported = self._n_unreported, 0
        text = f"{count} log lines were dropped: the reader of the log was too slow, or it failed"
        return self._line(logging.makeLogRecord(_NOTICE | {"msg": text}))

    def _line(self, record: logging.LogRecord) -> bytes:
        try:
            text = self.format(record)
        except Exception as error:  # noqa: BLE001 - arguments may raise anything
            # logging's own report would be a blocking write to stderr.
            text = f"ERROR {record.name}: a log line cannot be formatted: {type(error).__name__}"
        return f"{text}\n".encode("utf-8", "backslashreplace")


_NOTICE = {"name": "server.logs", "levelno": logging.WARNING, "levelname": "WARNING"}


def _write_all(fd: int, data: bytes) -> None:
    """Write `data`, waiting for the reader. Raises OSError."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            # Another process that shares the terminal or pipe has made it non-blocking.
            select.select([], [fd], [])
