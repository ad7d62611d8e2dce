"""Bodies in many small chunks are read in batches, with others' work between them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol

from server.http.body.chunks import (
    MAX_TINY_CHUNKS,
    BodyTooLargeError,
    TinyChunksError,
    discard,
    read_chunks,
)
from server.http.fair_turns import FairTurns

_MB = 1 << 20


class _Protocol(BaseProtocol):
    def resume_reading(self, resume_parser: bool = True) -> None:
        """There is no parser."""

    def pause_reading(self) -> None:
        """There is no parser."""


def _body(pieces: list[bytes], *, is_whole: bool = True) -> StreamReader:
    """A chunked body that has been received."""
    loop = asyncio.get_running_loop()
    protocol = _Protocol(loop)
    protocol.transport = asyncio.Transport()
    content = StreamReader(protocol, 1 << 14, loop=loop)
    for piece in pieces:
        content.begin_http_chunk_receiving()
        content.feed_data(piece)
        content.end_http_chunk_receiving()
    if is_whole:
        content.feed_eof()
    return content


class _Ticks:
    n = 0


@contextmanager
def _ticking() -> Iterator[_Ticks]:
    """Count the iterations of the event loop."""
    ticks = _Ticks()
    loop = asyncio.get_running_loop()
    is_over = False

    def tick() -> None:
        ticks.n += 1
        if not is_over:
            loop.call_soon(tick)

    tick()
    yield ticks
    is_over = True


async def test_small_chunks_are_read_in_batches() -> None:
    turns = FairTurns(1)
    with _ticking() as ticks:
        body = await read_chunks(_body([b"ab"] * 10_000), _MB, turns, "a")
    assert body == b"ab" * 10_000
    assert ticks.n >= 10_000 // 256


async def test_two_bodies_in_small_chunks_share_the_turns() -> None:
    turns = FairTurns(1)
    with _ticking() as ticks:
        bodies = [read_chunks(_body([b"ab"] * 10_000), _MB, turns, name) for name in "ab"]
        await asyncio.gather(*bodies)
    assert ticks.n >= 2 * (10_000 // 256)


async def test_large_chunks_wait_for_no_turn() -> None:
    turns = FairTurns(1, pause_seconds=1000.0)
    await turns.wait("")  # the next one is free after 1000 s
    pieces = [b"x" * 512] * 1000
    assert await read_chunks(_body(pieces), _MB, turns, "a") == b"".join(pieces)


async def test_too_many_tiny_chunks_are_refused_with_their_size() -> None:
    pieces = [b"x"] * (MAX_TINY_CHUNKS + 256)
    with pytest.raises(TinyChunksError, match=r"16384 chunks of 1\.0 bytes"):
        await read_chunks(_body(pieces), _MB, FairTurns(1), "a")


async def test_the_limit_of_a_body_holds_in_chunks() -> None:
    with pytest.raises(BodyTooLargeError):
        await read_chunks(_body([b"x" * 1000] * 11), 10_000, FairTurns(1), "a")


async def test_a_discarded_body_is_read_in_batches_too() -> None:
    with _ticking() as ticks:
        content = _body([b"x"] * 10_000)
        await discard(content, 60.0, FairTurns(1), "a")
    assert content.at_eof()
    assert ticks.n >= 10_000 // 256


async def test_a_body_is_discarded_for_a_limited_time() -> None:
    content = _body([b"x"], is_whole=False)
    await discard(content, 0.01, FairTurns(1), "a")
    assert not content.is_eof()
