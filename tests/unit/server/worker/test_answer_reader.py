"""AnswerReader: converts an engine's outputs to those of an answer."""

from typing import Any

import msgspec
import pytest

from llamabind import FinishReason, GenerationRequest, RequestOutput, SamplingParams
from llamabind.errors import GrammarError
from llamabind.request import ErrorCode, TokenLogprob, Usage
from server.errors import InvalidRequestError
from server.protocol.job import ChatPrompt, Job, TextPrompt
from server.protocol.outputs import SequenceOutput
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
    ("requested", "expected"), [(("<end>",), "<end>"), (("other",), None), ((), None)]
)
def test_only_stop_strings_of_the_request_are_reported(
    requested: tuple[str, ...], expected: str | None
) -> None:
    read = _reader(stop=requested).read(_end("one", [0, 2, 3, 4], "<end>"))
    assert read is not None
    assert read.stop_string == expected
    assert read.finish_reason == "stop"


def test_log_probabilities_cover_only_the_text_before_a_stop_string() -> None:
    reader = _reader(stop=("<end>",), logprobs=0)
    outputs = [
        _output("one", [0]),
        _output(" two", [1, 2]),
        _output("", [3]),
        _end("", [4], "<end>"),
    ]
    read = [item for item in map(reader.read, outputs) if item is not None]
    assert _logprob_text(read) == "".join(item.text for item in read) == "one two"
    assert read[0].finish_reason is None


def _logprob_text(read: list[SequenceOutput]) -> str:
    return b"".join(entry.piece for item in read for entry in item.logprobs).decode()


@pytest.mark.parametrize(("end_logprob", "tokens"), [(True, [0, 1]), (False, [0])])
def test_the_token_that_ends_the_answer_has_an_entry_without_text_if_requested(
    end_logprob: bool, tokens: list[int]
) -> None:
    reader = _reader(logprobs=0, end_logprob=end_logprob)
    ending = _output("", [1], finish_reason=FinishReason.STOP)
    read = [item for item in map(reader.read, [_output("one", [0]), ending]) if item is not None]
    assert [entry.token for item in read for entry in item.logprobs] == tokens
    assert _logprob_text(read) == "one"


def test_log_probabilities_are_not_kept_unless_requested() -> None:
    read = _reader().read(_output("one", [0]))
    assert read is not None
    assert read.logprobs == ()


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
def test_a_dead_end_of_a_grammar_names_the_field_of_the_grammar(
    prompt: TextPrompt | ChatPrompt, grammar: str, param: str
) -> None:
    job = Job(prompt=prompt, sampling=SamplingParams(grammar=grammar))
    request = GenerationRequest(request_id="1", prompt_tokens=(1,))
    reader = AnswerReader(("r", 0), job, None, _piece, request)
    failed = _output("", [], finish_reason=FinishReason.ERROR, error="no way")
    other = reader.read(failed)
    assert other is not None
    assert other.error_param is None
    read = reader.read(msgspec.structs.replace(failed, error_code=ErrorCode.GRAMMAR_DEAD_END))
    assert read is not None
    stream = TokenStream("r")
    stream.deliver(read)
    with pytest.raises(InvalidRequestError, match=f"^{param}: no way$") as caught:
        stream.take()
    assert (caught.value.param, caught.value.code) == (param, "grammar_dead_end")
    refused = refusal("r", GrammarError("no way"), grammar_param=job.grammar_param)
    assert (refused.param, refused.message) == (param, f"{param}: no way")
