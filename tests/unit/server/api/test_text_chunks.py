"""TextChunks: a piece of text is the same chunk as the general way makes of it."""

from typing import Any

import msgspec
import pytest

from server.api.shared.chunks import AnswerTag, OpenAIChunks, TextChunks, V2Chunks
from server.protocol.outputs import (
    LogprobEntry,
    PromptProgress,
    SequenceOutput,
    WireTimings,
    WireUsage,
    pack_logprobs,
)

_TEXTS = ["word", '"content":""', 'a "quote" \\ and\nlines', "höflich 漢字 🙂", "\0\x1f", " "]
_MODELS = ["m", '"content":""', 'x","content":"","y":"', "ünï"]


def _output(text: str, index: int = 0, **more: Any) -> SequenceOutput:
    return SequenceOutput("r", index, text, WireUsage(5, 1, 2), **more)


def _form(kind: str, model: str, *, with_logprobs: bool) -> OpenAIChunks | V2Chunks:
    tag = AnswerTag("chat", model)
    if kind == "v2":
        return V2Chunks(tag, include_usage=True, with_logprobs=with_logprobs)

    def fingerprint() -> str:
        return 'f"content":""'

    return OpenAIChunks(tag, fingerprint, include_usage=True, with_logprobs=with_logprobs)


def _documents(form: OpenAIChunks | V2Chunks, output: SequenceOutput) -> list[Any]:
    return [msgspec.json.decode(msgspec.json.encode(item)) for item in form.chunks(output)]


@pytest.mark.parametrize("kind", ["v2", "openai"])
@pytest.mark.parametrize("with_logprobs", [False, True])
def test_chunks_encoded_once_equal_chunks_encoded_each_time(
    kind: str, *, with_logprobs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in _MODELS:
        form = _form(kind, model, with_logprobs=with_logprobs)
        outputs = [_output(text, index) for index in (0, 1) for text in ["first", *_TEXTS]]
        quick = [_documents(form, output) for output in outputs]
        with monkeypatch.context() as general:
            general.setattr(TextChunks, "fits", staticmethod(lambda _: False))
            form._started.clear()
            assert [_documents(form, output) for output in outputs] == quick
        texts = [chunk[-1]["choices"][0]["delta"]["content"] for chunk in quick]
        assert texts == [output.text for output in outputs]
        assert all(chunk[-1]["model"] == model for chunk in quick)


@pytest.mark.parametrize(
    "more",
    [
        {"reasoning": "hm"},
        {"finish_reason": "stop"},
        {"timings": WireTimings(1.0, 2.0, 3.0)},
        {"packed_logprobs": pack_logprobs([LogprobEntry(1, b"a", -0.5)])},
        {"packed_prompt_logprobs": pack_logprobs([LogprobEntry(1, b"a", -0.5)])},
    ],
)
def test_more_than_text_goes_the_general_way(more: dict[str, Any]) -> None:
    assert TextChunks.fits(_output("text"))
    assert not TextChunks.fits(_output("text", **more))


def test_no_text_goes_the_general_way() -> None:
    assert not TextChunks.fits(_output("", progress=PromptProgress(1, 0, 1, 1.0)))
