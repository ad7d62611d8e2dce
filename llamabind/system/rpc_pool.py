"""RpcPool: the processes of `llamabind rpc-server`, which share one listening socket.

Each process serves one client at a time (llamabind/native/rpc_serving.py), so a client whose data
make ggml abort ends its own connection only. Another process is started when none is free.
"""

import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

# Lines that ggml prints (ggml_backend_rpc_start_server).
_ACCEPTED: Final = "Accepted client connection"
_CLOSED: Final = "Client connection closed"
# A question for free memory takes about a millisecond: not worth another process.
_SPARE_AFTER_SECONDS: Final = 0.3
_END_SECONDS: Final = 5.0
_RESTART_SECONDS: Final = 1.0


@dataclass(slots=True)
class _Member:
    process: subprocess.Popen[str]
    is_ready: bool = False
    is_busy: bool = True  # until it is ready
    lines: list[str] = field(default_factory=list)


class RpcPool:
    """At least one free process, and at most `size` processes. One thread only."""

    def __init__(
        self,
        listener: socket.socket,
        arguments: Sequence[str],
        size: int,
        *,
        cache: Path | None = None,
        report: Callable[[str], None],
    ) -> None:
        """`arguments` are those of rpc_serving; `report` gets a line for each client."""
        self._listener = listener
        self._arguments = tuple(arguments)
        self._size = size
        self._cache = cache
        self._report = report
        self._members: dict[int, _Member] = {}
        self._events: queue.Queue[tuple[int, str]] = queue.Queue()

    def start(self) -> int:
        """Start the first process; returns 0 once it serves, or its exit status."""
        self._spawn()
        while True:
            slot, line = self._events.get()
            if not line:
                return self._members.pop(slot).process.wait() or 1
            self._take(slot, line)
            if self._members[slot].is_ready:
                return 0

    def run(self) -> None:
        """Keep a process free until an exception, such as KeyboardInterrupt, ends it."""
        busy_since = time.monotonic()
        while True:
            try:
                slot, line = self._events.get(timeout=_SPARE_AFTER_SECONDS / 3)
                self._take(slot, line)
            except queue.Empty:
                pass
            if any(not member.is_busy for member in self._members.values()):
                busy_since = time.monotonic()
            elif self._needs_another(time.monotonic() - busy_since):
                self._spawn()

    def _needs_another(self, seconds: float) -> bool:
        if len(self._members) >= self._size or seconds < _SPARE_AFTER_SECONDS:
            return False
        return all(member.is_ready for member in self._members.values())

    def close(self) -> None:
        """End all processes."""
        for member in self._members.values():
            member.process.terminate()
        for member in self._members.values():
            try:
                member.process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait()

    def _spawn(self) -> None:
        slot = next(index for index in range(self._size) if index not in self._members)
        command = [sys.executable, "-P", "-m", "llamabind.native.rpc_serving", *self._arguments]
        if self._cache is not None:
            # ggml takes every file as complete, so no two processes may write to one folder.
            folder = self._cache / str(slot)
            folder.mkdir(exist_ok=True)
            command += ["--cache", str(folder)]
        process = subprocess.Popen(
            [*command, "--listener", str(self._listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self._listener.fileno()],
            # A debugger's stack trace after an abort would take seconds.
            env=os.environ | {"GGML_NO_BACKTRACE": "1"},
            text=True,
            errors="replace",
        )
        self._members[slot] = _Member(process)
        threading.Thread(target=self._follow, args=(slot, process), daemon=True).start()

    def _follow(self, slot: int, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None, "it is a pipe"
        for line in process.stdout:
            self._events.put((slot, line))
        self._events.put((slot, ""))

    def _take(self, slot: int, line: str) -> None:
        member = self._members[slot]
        if not line:
            self._on_end(slot, member)
        elif line.startswith(_ACCEPTED) and member.is_ready:
            member.is_busy = True
        elif line.startswith(_CLOSED):
            # The first client is the process itself: from then on it serves ours.
            member.is_ready, member.is_busy = True, False

    def _on_end(self, slot: int, member: _Member) -> None:
        status = member.process.wait()
        del self._members[slot]
        self._report(f"a process ended with status {status}; its client has lost the connection")
        time.sleep(_RESTART_SECONDS)
