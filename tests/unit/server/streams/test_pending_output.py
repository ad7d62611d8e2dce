"""A reader that is slow pauses the source of its outputs; its memory is bounded."""

import pytest

from server.errors import InvalidRequestError, UnavailableError
from server.protocol.outputs import SequenceOutput, WireUsage
from server.streams import answer
from server.streams.answer import KeptTotal, collect
from server.streams.pending_output import (
    OUTPUT_BYTES,
    PAUSE_BYTES,
    RESUME_BYTES,
    TIGHT_BYTES,
    PendingOutput,
    PendingTotal,
    size_of,
)
from server.streams.token_stream import TokenStream

KB = 1 << 10


def output(n_bytes: int, index: int = 0, finish_reason: str | None = None) -> SequenceOutput:
    """An output that counts as `n_bytes`."""
    text = "x" * (n_bytes - OUTPUT_BYTES)
    made = SequenceOutput("r", index, text, WireUsage(1, 1, 0), finish_reason=finish_reason)
    assert size_of(made) == n_bytes
    return made


def recorded(pending: PendingOutput) -> list[str]:
    calls: list[str] = []
    pending.on_pause = lambda: calls.append("pause")
    pending.on_resume = lambda: calls.append("resume")
    return calls


def test_the_source_pauses_above_one_limit_and_continues_below_another() -> None:
    pending = PendingOutput(PendingTotal())
    calls = recorded(pending)
    pending.add(output(PAUSE_BYTES))
    assert calls == []
    pending.add(output(KB))
    assert (calls, pending.is_paused) == (["pause"], True)
    pending.take(PAUSE_BYTES - RESUME_BYTES)
    assert calls == ["pause"]
    pending.take(KB)
    assert (calls, pending.is_paused) == (["pause", "resume"], False)


def test_the_pause_is_repeated_if_the_bytes_double() -> None:
    pending = PendingOutput(PendingTotal())
    calls = recorded(pending)
    pending.add(output(PAUSE_BYTES + KB))
    pending.add(output(KB))
    assert calls == ["pause"]
    pending.add(output(PAUSE_BYTES + KB))
    assert calls == ["pause", "pause"]


def test_many_slow_readers_get_less_each() -> None:
    total = PendingTotal(limit=2 * PAUSE_BYTES)
    readers = [PendingOutput(total) for _ in range(3)]
    calls = [recorded(reader) for reader in readers]
    for reader in readers[:2]:
        reader.add(output(PAUSE_BYTES))
    readers[2].add(output(TIGHT_BYTES + KB))
    assert calls == [[], ["pause"], ["pause"]], "the total has reached its limit"
    readers[0].drop()
    assert total.n_bytes == PAUSE_BYTES + TIGHT_BYTES + KB
    readers[2].take(TIGHT_BYTES + KB)
    assert calls[2] == ["pause", "resume"]


def test_a_reader_that_has_gone_leaves_no_bytes() -> None:
    total = PendingTotal()
    pending = PendingOutput(total)
    calls = recorded(pending)
    pending.add(output(2 * PAUSE_BYTES))
    pending.drop()
    pending.add(output(KB))
    pending.drop()
    assert (calls, total.n_bytes, pending.is_paused) == (["pause"], 0, False)


async def test_a_stream_counts_what_its_reader_has_not_taken() -> None:
    stream = TokenStream("r")
    calls = recorded(stream.pending)
    n_outputs = 2 * PAUSE_BYTES // KB
    for _ in range(n_outputs):
        stream.deliver(output(KB))
    stream.deliver(output(KB, finish_reason="stop"))
    assert calls == ["pause"]
    read = [one.text async for one in stream]
    assert sum(map(len, read)) == (n_outputs + 1) * (KB - OUTPUT_BYTES)
    assert stream.pending.n_bytes == 0
    assert calls == ["pause", "resume"]


@pytest.mark.parametrize("n_answers", [1, 4])
async def test_an_answer_in_one_piece_has_a_limit(
    monkeypatch: pytest.MonkeyPatch, n_answers: int
) -> None:
    monkeypatch.setattr(answer, "MAX_ANSWER_BYTES", 64 * KB)
    total = KeptTotal()
    stream = TokenStream("r", n_answers)
    for number in range(70):
        stream.deliver(output(KB + OUTPUT_BYTES, number % n_answers))
    with pytest.raises(InvalidRequestError, match="stream it") as refused:
        await collect(stream, total)
    assert refused.value.param == "logprobs"
    assert total.n_bytes == 0


async def test_all_answers_in_one_piece_have_a_limit_together() -> None:
    total = KeptTotal(limit=8 * KB)
    stream = TokenStream("r")
    stream.deliver(output(9 * KB + OUTPUT_BYTES))
    with pytest.raises(UnavailableError, match="retry later"):
        await collect(stream, total)
    small = TokenStream("r")
    small.deliver(output(7 * KB, finish_reason="stop"))
    assert len((await collect(small, total)).choices[0].text) == 7 * KB - OUTPUT_BYTES
    assert total.n_bytes == 0
