"""FrameSender: writes frames to the server on a thread of its own."""

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
    """Any thread may send; making, encoding and writing messages never hold up the engine.

    When the server is gone, so is the reason to be here: the process leaves.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._queue: SimpleQueue[msgspec.Struct | MakeMessage | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def send(self, message: msgspec.Struct | MakeMessage) -> None:
        """Queue a message, or what makes it on the sender's thread (None is nothing to send)."""
        self._queue.put(message)

    def close(self) -> None:
        """Return when everything sent so far is written."""
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
    """A message as bytes; a result that is too large is a refusal, so that nobody waits for it."""
    try:
        return encode_frame(message)
    except UnframeableError as error:
        if not isinstance(message, Answered):
            raise
        text = f"the result cannot be sent: {error.problem}; ask for less at once"
        return encode_frame(
            Refused(request_id=message.request_id, kind=RefusalKind.INVALID, message=text)
        )
