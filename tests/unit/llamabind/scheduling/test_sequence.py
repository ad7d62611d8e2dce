"""Sequence: how sampled tokens become an answer."""

from __future__ import annotations

from llamabind.request import FinishReason, GenerationRequest
from llamabind.scheduling.sampled import SampledRun, SampledToken
from llamabind.scheduling.sequence import Sequence, SequenceStatus
from tests.support.fake_runner import EOG, FakeVocabulary


def _make_sequence(n_ctx: int = 100, clock=lambda: 0.0, **fields) -> Sequence:
    fields.setdefault("prompt_tokens", (1, 2))
    return Sequence(
        GenerationRequest(request_id="a", **fields), FakeVocabulary(), n_ctx, clock=clock
    )


def _append_bytes(sequence: Sequence, data: bytes) -> list:
    return [sequence.append(SampledRun([SampledToken(byte)])) for byte in data]


def test_the_end_token_counts_but_has_no_text():
    sequence = _make_sequence()
    outputs = [*_append_bytes(sequence, b"hi"), sequence.append(SampledRun([SampledToken(EOG)]))]
    assert [output.text for output in outputs] == ["h", "i", ""]
    assert outputs[-1].finish_reason is FinishReason.STOP
    assert outputs[-1].usage.completion_tokens == 3
    assert sequence.status is SequenceStatus.FINISHED


def test_a_stop_string_over_two_tokens_is_not_in_the_text():
    outputs = _append_bytes(_make_sequence(stop=("\n\n",)), b"ok\n\n")
    assert [output.text for output in outputs] == ["o", "k", "", ""]
    assert [output.finish_reason for output in outputs] == [None, None, None, FinishReason.STOP]


def test_held_back_text_comes_with_the_end():
    sequence = _make_sequence(stop=("END",))
    outputs = [*_append_bytes(sequence, b"EN"), sequence.append(SampledRun([SampledToken(EOG)]))]
    assert "".join(output.text for output in outputs) == "EN"


def test_an_unfinished_character_at_max_tokens_becomes_u_fffd():
    outputs = _append_bytes(_make_sequence(max_tokens=2), b"a\xe2")
    assert outputs[-1].text == "\ufffd"
    assert outputs[-1].finish_reason is FinishReason.LENGTH


def test_an_unfinished_character_completes_a_stop_string_only_as_u_fffd():
    outputs = _append_bytes(_make_sequence(max_tokens=3, stop=("x\ufffd",)), b"ax\xe2")
    assert outputs[-1].finish_reason is FinishReason.LENGTH
    assert outputs[-1].text == ""


def test_timings_separate_queue_prompt_and_decode():
    now = iter([0.0, 1.0, 3.0, 7.0])
    sequence = _make_sequence(clock=lambda: next(now), max_tokens=2)
    sequence.start(None, 0)  # type: ignore[arg-type] # its slot is never read
    outputs = _append_bytes(sequence, b"ab")
    timings = outputs[-1].timings
    assert (timings.queue_ms, timings.prompt_ms, timings.decode_ms) == (1000.0, 2000.0, 4000.0)


def test_preemption_drops_computed_tokens_but_keeps_generated_ones():
    sequence = _make_sequence()
    sequence.start(None, 0)  # type: ignore[arg-type] # its slot is never read
    sequence.n_computed = 2
    _append_bytes(sequence, b"a")
    assert sequence.is_decoding
    sequence.preempt()
    assert (sequence.n_remaining, sequence.n_generated, sequence.is_decoding) == (3, 1, False)
