"""read_chunks and discard: a body's bytes, with a limit for what many tiny chunks may cost.

A chunk of HTTP's chunked encoding takes a microsecond or more, whatever its size: a connection that
sends one byte in each would occupy the event loop. aiohttp parses about a thousand ahead (see
READ_BUFFER_BYTES); here the rest waits for turns that all bodies in small chunks share.
"""

import asyncio
from typing import Final

from aiohttp import StreamReader, web

from server.http.fair_turns import FairTurns

READ_BUFFER_BYTES: Final = 1 << 14
"""aiohttp parses at most twice as many bytes ahead of the reader, and a 16th of it in chunks."""

MAX_TINY_CHUNKS: Final = 16_384
"""Chunks of one body that are tiny on average."""

_TINY_BYTES: Final = 16
_SMALL_BYTES: Final = 256

# A batch takes about half a millisecond.
_BATCH: Final = 256
_PAUSE_SECONDS: Final = 0.003


def chunk_turns() -> FairTurns:
    """The turns that all bodies in small chunks share."""
    return FairTurns(1, _PAUSE_SECONDS)


class BodyTooLargeError(Exception):
    """The body is larger than the limit."""


class TinyChunksError(Exception):
    """The body came in too many tiny chunks; the message has their number and size."""


async def read_chunks(
    content: StreamReader, limit: int, turns: FairTurns, caller: str
) -> bytearray:
    """The whole body, of at most `limit` bytes. Bodies in small chunks wait for turns.

    Raises BodyTooLargeError, TinyChunksError and aiohttp's RequestPayloadError.
    """
    body = bytearray()
    n_chunks = 0
    due = _BATCH
    while not content.at_eof():
        data, is_end_of_chunk = await content.readchunk()
        body += data
        if len(body) > limit:
            raise BodyTooLargeError
        n_chunks += is_end_of_chunk
        if n_chunks < due:
            continue
        due += _BATCH
        if n_chunks > MAX_TINY_CHUNKS and len(body) < _TINY_BYTES * n_chunks:
            raise TinyChunksError(
                f"more than {MAX_TINY_CHUNKS} chunks of {len(body) / n_chunks:.1f} bytes on average"
            )
        if len(body) < _SMALL_BYTES * n_chunks:
            await turns.wait(caller)
    return body


async def discard(content: StreamReader, seconds: float, turns: FairTurns, caller: str) -> None:
    """Read and drop the rest of a body, for up to `seconds`."""
    n_chunks = 0
    try:
        async with asyncio.timeout(seconds):
            while not content.at_eof():
                n_chunks += (await content.readchunk())[1]
                if n_chunks % _BATCH == _BATCH - 1:
                    await turns.wait(caller)
    except (TimeoutError, web.RequestPayloadError):
        return
