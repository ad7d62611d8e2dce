"""MergedStream: the answers to several requests are read as one."""

import asyncio

import pytest

from server.errors import InvalidRequestError
from server.protocol.outputs import SequenceOutput, WireUsage
from server.streams.merged_stream import MergedStream
from server.streams.token_stream import TokenStream, TokenUsage
from server.streams.wakeup import Wakeup


def _output(index: int, text: str, reason: str | None = None) -> SequenceOutput:
    return SequenceOutput("r", index, text, WireUsage(5, 1, 2), reason)


def _make(n: int = 1, *, is_accepted: bool = True) -> tuple[list[TokenStream], MergedStream]:
    wakeup = Wakeup()
    streams = [TokenStream(str(number), n, wakeup) for number in range(2)]
    for stream in streams if is_accepted else ():
        stream.accept(())
    return streams, MergedStream(streams, n, wakeup)


async def test_outputs_are_read_round_robin_with_distinct_indices() -> None:
    (first, second), merged = _make(n=2)
    for text in "ab":
        first.deliver(_output(1, text))
    second.deliver(_output(0, "c"))
    read = [await merged.next() for _ in range(3)]
    assert [(one.index, one.text) for one in read if one] == [(1, "a"), (2, "c"), (1, "b")]
    assert merged.usage == TokenUsage(10, 2, 4)


async def test_a_waiting_reader_is_woken_by_any_stream() -> None:
    (first, second), merged = _make()
    reader = asyncio.create_task(merged.next())
    await asyncio.sleep(0)
    second.deliver(_output(0, "x", "stop"))
    output = await reader
    assert output is not None
    assert output.index == 1
    assert not merged.is_done
    first.deliver(_output(0, "y", "stop"))
    await merged.next()
    assert merged.is_done


async def test_a_wait_times_out_and_errors_are_raised() -> None:
    (_, second), merged = _make()
    assert await merged.next(timeout_seconds=0.001) is None
    second.fail(InvalidRequestError("no"))
    with pytest.raises(InvalidRequestError):
        await merged.next()


async def test_a_refusal_comes_before_any_output() -> None:
    (first, second), merged = _make(is_accepted=False)
    first.accept(())
    first.deliver(_output(0, "a"))
    assert await merged.next(timeout_seconds=0.001) is None
    second.fail(InvalidRequestError("no"))
    with pytest.raises(InvalidRequestError):
        await merged.next()


async def test_the_first_output_waits_until_all_requests_are_prepared() -> None:
    (first, second), merged = _make(is_accepted=False)
    reader = asyncio.create_task(merged.next())
    first.accept(("a warning",))
    first.deliver(_output(0, "a"))
    await asyncio.sleep(0)
    assert not reader.done()
    second.accept(())
    assert (await reader) is not None
    assert first.warnings == ("a warning",)
