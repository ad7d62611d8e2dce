"""AnswerReader: an engine's outputs as those of an answer."""

from typing import Any

import msgspec
import pytest

from llamabind import FinishReason, GenerationRequest, RequestOutput, SamplingParams
from llamabind.errors import GrammarError
from llamabind.request import ErrorCode, TokenLogprob, Usage
from server.errors import InvalidRequestError
from server.protocol.job import ChatPrompt, Job, TextPrompt
from server.protocol.messages import SequenceOutput
from server.streams.token_stream import TokenStream
from server.worker.engines.answer_reader import AnswerReader
from server.worker.session.refusals import refusal

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


_TOOLS = [{"type": "function", "function": {"name": "f"}}]
_SCHEMA = {"type": "object"}


@pytest.mark.parametrize(
    ("prompt", "grammar", "param"),
    [
        (TextPrompt(content="x"), "root ::= .", "grammar"),
        (TextPrompt(content="x", json_schema=_SCHEMA), "", "json_schema"),
        (ChatPrompt(messages=[], json_schema=_SCHEMA), "", "json_schema"),
        (ChatPrompt(messages=[], tools=_TOOLS), "", "tools"),
        (ChatPrompt(messages=[], tools=_TOOLS), "root ::= .", "grammar"),
        (
            ChatPrompt(messages=[], tools=_TOOLS, tool_choice="required", json_schema=_SCHEMA),
            "",
            "tools",
        ),
        (
            ChatPrompt(messages=[], tools=_TOOLS, tool_choice="none", json_schema=_SCHEMA),
            "",
            "json_schema",
        ),
    ],
)
def test_a_grammar_that_cannot_go_on_is_told_by_what_it_was_made_of(
    prompt: TextPrompt | ChatPrompt, grammar: str, param: str
) -> None:
    job = Job(prompt=prompt, sampling=SamplingParams(grammar=grammar))
    request = GenerationRequest(request_id="1", prompt_tokens=(1,))
    reader = AnswerReader(("r", 0), job, None, _piece, request)
    failed = _output("", [], finish_reason=FinishReason.ERROR, error="no way")
    other = reader.read(failed)
    assert other is not None
    assert other.error_param is None
    news = reader.read(msgspec.structs.replace(failed, error_code=ErrorCode.GRAMMAR_DEAD_END))
    assert news is not None
    stream = TokenStream("r")
    stream.deliver(news)
    with pytest.raises(InvalidRequestError, match=f"^{param}: no way$") as caught:
        stream.take()
    assert (caught.value.param, caught.value.code) == (param, "grammar_dead_end")
    refused = refusal("r", GrammarError("no way"), grammar_param=job.grammar_param)
    assert (refused.param, refused.message) == (param, f"{param}: no way")
