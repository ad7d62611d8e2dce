"""EarlyWorker: a worker process that starts before this process imports the server.

The imports of both processes take about equally long, and so run at the same time. This module
imports few others, without asyncio and msgspec, so that the worker starts early.
"""

import contextlib
import socket
import subprocess
from typing import Final, Self

from server.child_command import child_command
from server.supervisor.worker_environment import worker_environment

WORKER_MODULE: Final = "server.worker"


class EarlyWorker:
    """A started process and the server's end of its socket. This object owns both until `take`."""

    def __init__(self, process: "subprocess.Popen[bytes]", connection: socket.socket) -> None:
        self._started: tuple[subprocess.Popen[bytes], socket.socket] | None = process, connection

    @classmethod
    def start(cls) -> Self | None:
        """Start a worker; None if the system refuses. If it still does, the load reports why."""
        with contextlib.suppress(OSError):
            ours, theirs = socket.socketpair()
            try:
                descriptor = theirs.fileno()
                process = subprocess.Popen(
                    [*child_command(WORKER_MODULE), "--fd", str(descriptor)],
                    bufsize=0,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=[descriptor],
                    env=worker_environment(),
                )
            except BaseException:
                ours.close()
                raise
            finally:
                # Only the child may hold this end: then its exit is an end-of-file for the server.
                theirs.close()
            return cls(process, ours)
        return None

    def take(self) -> "tuple[subprocess.Popen[bytes], socket.socket] | None":
        """Return the process and the socket at the first call; None later, and after `end`."""
        started, self._started = self._started, None
        return started

    def end(self) -> None:
        """Kill the process, unless it was taken."""
        if (started := self.take()) is not None:
            process, connection = started
            process.kill()
            connection.close()
            process.communicate()
