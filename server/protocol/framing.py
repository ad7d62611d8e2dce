"""Length-prefixed msgpack frames: 4 bytes of length, big-endian, then one message.

Independent of sockets: asyncio and plain threads pass in the bytes that they received.
"""

import struct
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

from server.protocol.wide_numbers import LEAST, MOST, is_wide

MAX_FRAME_BYTES = 128 << 20

_LENGTH = struct.Struct(">I")
_ENCODER = msgspec.msgpack.Encoder()

T = TypeVar("T")


class FramingError(Exception):
    """The bytes are not frames of this protocol; the connection must be closed."""


class UnframeableError(ValueError):
    """A message cannot be encoded as a frame; nothing was sent.

    `path` is the field at fault, such as `tools[0].x`; None if it is the message as a whole.
    """

    def __init__(self, problem: str, path: str | None = None) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.problem = problem
        self.path = path


class WideNumberError(UnframeableError):
    """The message has an integer of more than 64 bits."""


def encode_frame(message: msgspec.Struct) -> bytes:
    """Encode one message as one frame. Raises UnframeableError."""
    try:
        payload = _ENCODER.encode(message)
    except OverflowError:
        path = _path_of_wide_number(msgspec.to_builtins(message))
        problem = f"an integer is out of range, expected {LEAST} to {MOST}"
        raise WideNumberError(problem, path) from None
    except RecursionError:
        raise UnframeableError("nested too deeply") from None
    if len(payload) > MAX_FRAME_BYTES:
        problem = f"{len(payload)} bytes are over the limit of {MAX_FRAME_BYTES} bytes"
        raise UnframeableError(problem)
    return _LENGTH.pack(len(payload)) + payload


class FrameReader(Generic[T]):
    """Decodes received bytes into messages. One per connection and direction; one thread only."""

    def __init__(self, message_type: Any) -> None:  # mypy: a union is not a type[T]
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(message_type)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[T]:
        """Yield the messages that `data` completes. Raises FramingError."""
        self._buffer += data
        while (payload := self._take_payload()) is not None:
            try:
                yield self._decoder.decode(payload)
            except (msgspec.DecodeError, ValueError) as error:
                raise FramingError(f"a frame cannot be decoded: {error}") from error

    def _take_payload(self) -> bytes | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > MAX_FRAME_BYTES:
            raise FramingError(f"a frame of {length} bytes is over the limit of {MAX_FRAME_BYTES}")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        return payload


def _path_of_wide_number(document: Any) -> str | None:
    """Path of the first integer that msgpack cannot encode, in a document of JSON types."""
    waiting = [("", document)]
    while waiting:
        path, value = waiting.pop()
        if is_wide(value) or (isinstance(value, dict) and any(map(is_wide, value))):
            return path or None
        if isinstance(value, dict):
            inner = [(f"{path}.{key}" if path else str(key), item) for key, item in value.items()]
        elif isinstance(value, list | tuple):
            inner = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
        else:
            continue
        waiting.extend(reversed(inner))
    return None
