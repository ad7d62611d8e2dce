"""FrameSender: writes frames to the server on a separate thread."""

import os
import socket
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeAlias

import msgspec

from server.protocol.framing import UnframeableError, encode_frame
from server.protocol.messages import Answered, RefusalKind, Refused

MakeMessage: TypeAlias = Callable[[], msgspec.Struct | None]


class FrameSender:
    """Makes, encodes and writes messages without delaying the engine. `send` on any thread.

    If the server has closed the socket, the process exits.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._queue: SimpleQueue[msgspec.Struct | MakeMessage | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def send(self, message: msgspec.Struct | MakeMessage) -> None:
        """Queue a message, or a function that makes one on the sender's thread, or None."""
        self._queue.put(message)

    def close(self) -> None:
        """Stop the thread once all queued messages are written."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            message = item if isinstance(item, msgspec.Struct) else item()
            if message is not None:
                self._write(message)

    def _write(self, message: msgspec.Struct) -> None:
        try:
            self._connection.sendall(_frame(message))
        except OSError:
            os._exit(0)


def _frame(message: msgspec.Struct) -> bytes:
    """A message as bytes; a result that cannot be encoded is replaced by a refusal."""
    try:
        return encode_frame(message)
    except UnframeableError as error:
        if not isinstance(message, Answered):
            raise
        text = f"the result cannot be sent: {error.problem}; request less at once"
        return encode_frame(
            Refused(request_id=message.request_id, kind=RefusalKind.INVALID, message=text)
        )
