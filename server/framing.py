"""Length-prefixed msgpack frames: 4 bytes of length, big-endian, then one message.

Knows no sockets: asyncio and plain threads feed it the bytes they got.
"""

import struct
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

MAX_FRAME_BYTES = 128 << 20

_LENGTH = struct.Struct(">I")
_ENCODER = msgspec.msgpack.Encoder()

T = TypeVar("T")


class FramingError(Exception):
    """The bytes are no frames of this protocol; the connection is of no more use."""


def encode_frame(message: msgspec.Struct) -> bytes:
    """One message as the bytes of one frame. Raises FramingError if it is over the limit."""
    payload = _ENCODER.encode(message)
    if len(payload) > MAX_FRAME_BYTES:
        raise FramingError(
            f"a frame of {len(payload)} bytes is over the limit of {MAX_FRAME_BYTES}"
        )
    return _LENGTH.pack(len(payload)) + payload


class FrameReader(Generic[T]):
    """Cuts a stream of bytes into messages. One per connection and direction; one thread only."""

    def __init__(self, message_type: Any) -> None:  # a union of Structs is no type[T] for mypy
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(message_type)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[T]:
        """Every message that `data` completes. Raises FramingError."""
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
