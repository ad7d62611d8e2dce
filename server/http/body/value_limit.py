"""check_values: a limit of the JSON values in a body, checked before the body is decoded.

A decoded value takes 50 bytes or more, where its JSON needs three ("[],"). Without this limit a
body of 32 MB occupies the event loop for many seconds, and a gigabyte of memory.
"""

import asyncio
from typing import Final

from server.errors import InvalidRequestError

MAX_VALUES: Final = 1_048_576
"""JSON values of one body, numbers and texts alike."""

MAX_OBJECTS: Final = 262_144
"""Objects, lists, texts and names of fields in one body; each costs more than a number."""

# Counted at a time, in a millisecond or less; then the event loop can run other requests.
_SLICE_BYTES: Final = 1 << 16


async def check_values(raw: bytes | bytearray) -> None:
    """Refuse a body with too many JSON values. Raises InvalidRequestError.

    Counts commas and opening brackets outside of texts; `raw` need not be valid JSON.
    """
    if len(raw) <= MAX_OBJECTS:
        return
    counter = _Counter()
    for begin in range(0, len(raw), _SLICE_BYTES):
        counter.add(bytes(raw[begin : begin + _SLICE_BYTES]))
        counter.check()
        await asyncio.sleep(0)


class _Counter:
    def __init__(self) -> None:
        self._n_values = 0
        self._n_opened = 0
        self._n_quotes = 0
        self._rest = b""

    def add(self, piece: bytes) -> None:
        """Count the values of the next bytes."""
        piece = self._rest + piece
        # A backslash that is the last byte escapes the first byte of the next piece.
        n_trailing = len(piece) - len(piece.rstrip(b"\\"))
        self._rest = b"\\" * (n_trailing % 2)
        piece = piece[: len(piece) - n_trailing]
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        texts = piece.split(b'"')
        for outside in texts[self._n_quotes % 2 :: 2]:
            if outside == b":":
                continue
            n_opened = outside.count(b"[") + outside.count(b"{")
            self._n_opened += n_opened
            self._n_values += n_opened + outside.count(b",")
        self._n_quotes += len(texts) - 1

    def check(self) -> None:
        """Raises InvalidRequestError if more values were counted than a limit allows."""
        n_objects = self._n_opened + self._n_quotes // 2
        if n_objects > MAX_OBJECTS:
            raise _too_many(f"more than {MAX_OBJECTS} objects, lists, texts and names of fields")
        if self._n_values > MAX_VALUES:
            raise _too_many(f"more than {MAX_VALUES} JSON values")


def _too_many(what: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"the request body has {what}; send fewer in one request", code="too_many_values"
    )
