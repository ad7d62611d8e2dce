"""AnswerReader: an engine's outputs as those of an answer."""

from typing import Any

import pytest

from llamabind import FinishReason, GenerationRequest, RequestOutput
from llamabind.request import TokenLogprob, Usage
from server.job import Job, TextPrompt
from server.protocol import SequenceOutput
from server.worker.answers import AnswerReader

_PIECES = [b"one", b" two", b"<", b"end", b">"]


def _piece(token: int, *, special: bool = True) -> bytes:
    assert special in (True, False)
    return _PIECES[token]


def _reader(**fields: Any) -> AnswerReader:
    job = Job(prompt=TextPrompt(content="x"), **fields)
    request = GenerationRequest(request_id="1", prompt_tokens=(1,), stop=(*job.stop, "<end>"))
    return AnswerReader(("r", 0), job, None, _piece, request)


def _output(text: str, tokens: list[int], **fields: Any) -> RequestOutput:
    logprobs = tuple(TokenLogprob(token, -1.0) for token in tokens)
    return RequestOutput("1", text, tuple(tokens), Usage(1, 1, 0), logprobs=logprobs, **fields)


def _end(text: str, tokens: list[int], stop: str) -> RequestOutput:
    return _output(text, tokens, finish_reason=FinishReason.STOP, stop_string=stop)


@pytest.mark.parametrize(
    ("asked", "expected"), [(("<end>",), "<end>"), (("other",), None), ((), None)]
)
def test_only_a_stop_string_of_the_request_is_told(
    asked: tuple[str, ...], expected: str | None
) -> None:
    news = _reader(stop=asked).read(_end("one", [0, 2, 3, 4], "<end>"))
    assert news is not None
    assert news.stop_string == expected
    assert news.finish_reason == "stop"


def test_log_probabilities_are_those_of_the_text_that_a_stop_string_left() -> None:
    reader = _reader(stop=("<end>",), logprobs=0)
    outputs = [
        _output("one", [0]),
        _output(" two", [1, 2]),
        _output("", [3]),
        _end("", [4], "<end>"),
    ]
    news = [item for item in map(reader.read, outputs) if item is not None]
    assert _told(news) == "".join(item.text for item in news) == "one two"
    assert news[0].finish_reason is None


def _told(news: list[SequenceOutput]) -> str:
    return b"".join(entry.piece for item in news for entry in item.logprobs).decode()


def test_log_probabilities_that_nobody_asked_for_are_not_kept() -> None:
    news = _reader().read(_output("one", [0]))
    assert news is not None
    assert news.logprobs == ()
