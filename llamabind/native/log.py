"""Sends llama.cpp's log lines to the Python logger "llamabind.native"."""

import atexit
import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

from llamabind._capi import llama, mtmd, types

logger = logging.getLogger("llamabind.native")

# enum ggml_log_level of ggml.h; 5 (CONT) continues the line before it.
_LEVELS: Final = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}
_CONTINUED: Final = 5
_RING_SIZE: Final = 256


@dataclass(frozen=True, slots=True)
class NativeLine:
    """One line that native code wrote; `serial` counts up, `level` is Python's."""

    serial: int
    thread_id: int
    level: int
    text: str


class NativeLog:
    """Joins fragments from any thread to lines, logs them and keeps the last 256."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._serial = 0
        self._ring: deque[NativeLine] = deque(maxlen=_RING_SIZE)
        self._open: dict[int, tuple[int, str]] = {}

    def write(self, level: int, fragment: str) -> None:
        """Add a fragment that native code wrote; a line is logged once its newline arrives."""
        thread_id = threading.get_ident()
        with self._lock:
            last_level, begun = self._open.pop(thread_id, (logging.INFO, ""))
            if level != _CONTINUED:
                last_level = _LEVELS.get(level, logging.INFO)
            *complete, rest = (begun + fragment).split("\n")
            if rest:
                self._open[thread_id] = (last_level, rest)
            for text in complete:
                self._remember(thread_id, last_level, text)
        for text in complete:
            if text and logger.isEnabledFor(last_level):
                logger.log(last_level, "%s", text)

    def position(self) -> int:
        """Return the serial number of the newest line, for lines_since()."""
        return self._serial

    def lines_since(self, position: int, level: int = logging.WARNING) -> list[str]:
        """Return this thread's lines of at least `level` after `position`, oldest first.

        Lines older than the last 256 of the process are lost.
        """
        thread_id = threading.get_ident()
        with self._lock:
            lines = list(self._ring)
        return [
            line.text
            for line in lines
            if line.serial > position and line.thread_id == thread_id and line.level >= level
        ]

    def _remember(self, thread_id: int, level: int, text: str) -> None:
        # Debug lines would displace the lines that explain a failure.
        if text and level > logging.DEBUG:
            self._serial += 1
            self._ring.append(NativeLine(self._serial, thread_id, level, text))


native_log: Final = NativeLog()
_has_mtmd: Final[list[bool]] = []


@types.ggml_log_callback
def _on_native_log(level: int, text: bytes | None, _user_data: int | None) -> None:
    native_log.write(level, (text or b"").decode(errors="replace"))


def install() -> None:
    """Send native log lines to Python logging instead of stderr.

    llama_log_set is global and not thread safe (llama.h): call this once, before other native
    calls.
    """
    # Without any handler Python's logging would print warnings to stderr.
    logging.getLogger("llamabind").addHandler(logging.NullHandler())
    llama.llama_log_set(_on_native_log, None)
    # Native threads may still log after the interpreter has shut down.
    atexit.register(_uninstall)


def install_mtmd() -> None:
    """Send libmtmd's log lines, which it keeps apart, to Python too; may be called repeatedly."""
    mtmd.mtmd_log_set(_on_native_log, None)
    if _has_mtmd:
        return
    _has_mtmd.append(True)
    atexit.register(mtmd.mtmd_log_set, types.ggml_log_callback(), None)


def _uninstall() -> None:
    llama.llama_log_set(types.ggml_log_callback(), None)
