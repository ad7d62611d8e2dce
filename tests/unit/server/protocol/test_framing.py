"""Frames between server and worker: whole, in pieces, too long, and invalid."""

import msgspec
import pytest

from llamabind.sampling.params import GrammarTrigger, SamplingParams
from server.protocol.framing import (
    MAX_FRAME_BYTES,
    FrameReader,
    FramingError,
    UnframeableError,
    encode_frame,
)
from server.protocol.job import ChatPrompt, Job, TextPrompt
from server.protocol.load_settings import LoadSettings
from server.protocol.loading import Load
from server.protocol.messages import Ask, Cancel, FromWorker, Step, Submit, ToWorker
from server.protocol.outputs import SequenceOutput, WireUsage
from server.protocol.tasks import SetAdapters


def _to_worker() -> FrameReader[ToWorker]:
    return FrameReader(ToWorker)


def test_messages_are_decoded_from_pieces_of_any_size() -> None:
    messages = [Load("/a/ü.gguf", LoadSettings(n_ctx=512, use_mlock=True)), Cancel("x")]
    data = b"".join(encode_frame(message) for message in messages)
    for size in (1, 2, 3, 7, len(data)):
        reader = _to_worker()
        cut = [data[start : start + size] for start in range(0, len(data), size)]
        assert [message for piece in cut for message in reader.feed(piece)] == messages


def test_sampling_params_are_decoded_as_they_were_encoded() -> None:
    sampling = SamplingParams(
        seed=7,
        temperature=0.0,
        samplers=("top_k", "temperature"),
        logit_bias=((5, -float("inf")), (6, 1.5)),
        grammar='root ::= "x"',
        grammar_lazy=True,
        grammar_triggers=(GrammarTrigger("pattern", "x+"), GrammarTrigger("token", token=3)),
    )
    prompt = ChatPrompt(messages=[{"role": "user", "content": "hi"}], tool_choice="none")
    message = Submit(
        "1", Job(prompt=prompt, sampling=sampling, stop=("a",), logit_bias=(("x", 1),))
    )
    assert list(_to_worker().feed(encode_frame(message))) == [message]


def test_the_worker_checks_sampling_params_again() -> None:
    job = Job(prompt=TextPrompt(content=(1, "x")), sampling=SamplingParams(top_p=0.5))
    good = encode_frame(Submit("1", job))
    bad = good.replace(msgspec.msgpack.encode(0.5), msgspec.msgpack.encode(7.5))
    with pytest.raises(FramingError, match="top_p"):
        list(_to_worker().feed(bad))


def test_a_step_of_many_sequences_is_small() -> None:
    outputs = [SequenceOutput(f"{n:032x}", 0, " word", WireUsage(100, n, 0)) for n in range(16)]
    frame = encode_frame(Step(outputs))
    assert len(frame) < 16 * 64
    reader: FrameReader[FromWorker] = FrameReader(FromWorker)
    assert list(reader.feed(frame)) == [Step(outputs)]


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        (MAX_FRAME_BYTES + 1).to_bytes(4, "big"),
        b"\0\0\0\1\xc1",
        b"\0\0\0\2\x81\xa1",
        b"\0\0\0\1\x80",
    ],
    ids=["huge", "over the limit", "no msgpack", "cut msgpack", "no tag"],
)
def test_invalid_bytes_are_a_framing_error(data: bytes) -> None:
    with pytest.raises(FramingError):
        list(_to_worker().feed(data))


def test_a_message_over_the_size_limit_is_not_encoded() -> None:
    with pytest.raises(UnframeableError, match="over the limit"):
        encode_frame(Cancel("x" * (MAX_FRAME_BYTES + 1)))


@pytest.mark.parametrize("number", [1 << 64, -(1 << 63) - 1, 10**500])
def test_an_integer_out_of_range_is_named_by_its_path(number: int) -> None:
    tools = [{"a": {"b": [0, (1 << 64) - 1]}}, {"a": {"b": [-(1 << 63), number]}}]
    job = Job(prompt=ChatPrompt(messages=[], tools=tools), stop=("a",))
    with pytest.raises(UnframeableError, match="out of range") as caught:
        encode_frame(Submit("1", job))
    assert caught.value.path == "job.prompt.tools[1].a.b[1]"


def test_a_key_out_of_range_is_named_by_the_path_of_its_dict() -> None:
    with pytest.raises(UnframeableError) as caught:
        encode_frame(Ask("1", SetAdapters({1: 1.0, 1 << 64: 0.5})))
    assert caught.value.path == "task.scales"
