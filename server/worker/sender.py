"""FrameSender: writes frames to the server on a thread of its own."""

import os
import socket
import threading
from queue import SimpleQueue

import msgspec

from server.framing import encode_frame


class FrameSender:
    """Any thread may send; encoding and writing never hold up the engine.

    When the server is gone, so is the reason to be here: the process leaves.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._queue: SimpleQueue[msgspec.Struct | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def send(self, message: msgspec.Struct) -> None:
        """Queue a message."""
        self._queue.put(message)

    def close(self) -> None:
        """Return when everything sent so far is written."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (message := self._queue.get()) is not None:
            try:
                self._connection.sendall(encode_frame(message))
            except OSError:
                os._exit(0)
