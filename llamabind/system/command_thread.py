"""CommandThread: a thread that runs commands which other threads queue."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeAlias, TypeVar

from llamabind.errors import EngineStoppedError

StateT = TypeVar("StateT")
Commands: TypeAlias = SimpleQueue[Callable[[StateT], None]]

_EXIT_SECONDS: Final = 30.0


class StopThread(Exception):  # noqa: N818 - a signal, not an error
    """Raised by the command that ends the loop."""


class CommandThread(Generic[StateT]):
    """Runs a loop that executes queued commands; all methods may be called from any thread.

    `run` gets the queue, whose commands are functions of the loop's state, and `mark_stopped`. If
    the loop ends by itself it calls `mark_stopped`, after which no command is queued, then drains
    the queue. It gets nothing else of this object, so that it cannot touch the rest.
    """

    def __init__(
        self, name: str, run: Callable[[Commands[StateT], Callable[[], None]], None], closed: str
    ) -> None:
        """`closed` is the message of EngineStoppedError for commands after the end."""
        self._commands: Commands[StateT] = SimpleQueue()
        self._lock = threading.Lock()
        self._stopped = False
        self._closed = closed
        self._pid = os.getpid()
        self._thread = threading.Thread(
            target=run, args=(self._commands, self._mark_stopped), name=name, daemon=True
        )
        self._thread.start()
        # Native code that still computes while the process exits causes a segmentation fault.
        weakref.finalize(self, _end_at_exit, self._thread, self._commands)

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on this thread, where waiting for an output would deadlock."""
        return threading.current_thread() is self._thread

    def close(self, timeout: float | None = None) -> bool:
        """End the loop and join the thread; False if it did not end within `timeout` seconds."""
        with self._lock:
            if not self._stopped:
                self._stopped = True
                self._commands.put(_stop)
        if not self.is_current:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _send(self, command: Callable[[StateT], None]) -> None:
        """Queue a command; raises EngineStoppedError."""
        if os.getpid() != self._pid:
            raise EngineStoppedError(
                "the engine does not run in a forked process; load the model in that process"
            )
        if not self._send_if_open(command):
            raise EngineStoppedError(self._closed)

    def _send_if_open(self, command: Callable[[StateT], None]) -> bool:
        with self._lock:
            if not self._stopped:
                self._commands.put(command)
            return not self._stopped

    def _mark_stopped(self) -> None:
        with self._lock:
            self._stopped = True


def _stop(_state: Any) -> None:
    raise StopThread


def _end_at_exit(thread: threading.Thread, commands: SimpleQueue[Any]) -> None:
    commands.put(_stop)
    thread.join(_EXIT_SECONDS)
