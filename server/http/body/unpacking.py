"""unpack: decompresses a request body in slices, up to a limit."""

import importlib
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, Protocol

_SLICE_BYTES: Final = 1 << 18
"""Decompressed at a time, in a millisecond or less; then the event loop can run other requests."""

_INPUT_BYTES: Final = 1 << 16
"""Given to zlib at a time: it copies the input that it has not consumed yet."""

_ZSTD_WINDOW_LOG: Final = 23
"""Base-2 logarithm of the decoder's window in bytes; RFC 9659 allows no larger one in HTTP."""


class UnpackError(Exception):
    """The compressed data are damaged, end too early, or are followed by other bytes."""


class UnpackedTooLargeError(Exception):
    """The decompressed data exceed the limit."""


class _Decompressor(Protocol):
    """The common interface of zlib's and zstd's decompressors."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Zlib:
    """zlib's decompressor; passes the input that one call did not consume to the next call."""

    def __init__(self, window_bits: int) -> None:
        self._decompressor = zlib.decompressobj(window_bits)

    @property
    def eof(self) -> bool:
        return self._decompressor.eof

    @property
    def unused_data(self) -> bytes:
        return self._decompressor.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._decompressor.decompress(data or self._decompressor.unconsumed_tail, max_length)


def encodings() -> tuple[str, ...]:
    """The supported values of Content-Encoding; zstd only where its module is installed."""
    return ("gzip", "deflate", *(["zstd"] if _zstd() is not None else []))


def is_known(encoding: str) -> bool:
    """Whether bodies with this Content-Encoding can be decompressed."""
    return encoding.removeprefix("x-") in encodings()


def unpack(data: bytes, encoding: str, limit: int) -> Iterator[bytes]:
    """Yield the decompressed `data` in slices that each take about a millisecond.

    Raises UnpackedTooLargeError before it yields more than `limit` bytes, and UnpackError.
    """
    decompressor = _decompressor(encoding.removeprefix("x-"), data)
    n_bytes = 0
    try:
        for piece in _pieces(decompressor, data):
            n_bytes += len(piece)
            if n_bytes > limit:
                raise UnpackedTooLargeError
            yield piece
    except _errors() as error:
        raise UnpackError(str(error)) from error
    if not decompressor.eof or decompressor.unused_data:
        raise UnpackError("the compressed data are incomplete, or other bytes follow them")


def _pieces(decompressor: _Decompressor, data: bytes) -> Iterator[bytes]:
    for begin in range(0, len(data), _INPUT_BYTES):
        piece = decompressor.decompress(data[begin : begin + _INPUT_BYTES], _SLICE_BYTES)
        while piece:
            yield piece
            piece = b"" if decompressor.eof else decompressor.decompress(b"", _SLICE_BYTES)
        is_last = begin + _INPUT_BYTES >= len(data)
        if decompressor.eof and not is_last:
            raise UnpackError("other bytes follow the compressed data")


def _decompressor(encoding: str, data: bytes) -> _Decompressor:
    if encoding == "gzip":
        return _Zlib(zlib.MAX_WBITS | 16)
    if encoding == "deflate":
        # The standard requires zlib's header, but some clients omit it; its checksum shows which.
        has_head = len(data) >= 2 and data[0] & 15 == 8 and int.from_bytes(data[:2]) % 31 == 0
        return _Zlib(zlib.MAX_WBITS if has_head else -zlib.MAX_WBITS)
    zstd = _zstd()
    assert zstd is not None, "callers check is_known first"
    limit = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    decompressor: _Decompressor = zstd.ZstdDecompressor(options=limit)
    return decompressor


def _errors() -> tuple[type[Exception], ...]:
    zstd = _zstd()
    return (zlib.error,) if zstd is None else (zlib.error, zstd.ZstdError)


@cache
def _zstd() -> Any:
    """Python's zstd module (3.14 and later), or its backport; None if neither is installed."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None
