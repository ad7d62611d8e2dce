"""The results of generate(), chat() and stream(), built from the engine's outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamabind.request import FinishReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from llamabind.chat.output_parser import OutputParser, ToolCall, ToolCallDelta
    from llamabind.request import RequestOutput, Timings, TokenLogprob, Usage


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to a prompt.

    In a chat `text` is the content of the message, without its `reasoning` and `tool_calls`;
    `token_ids` are all generated tokens. `logprobs`, if requested, has one entry for each token.
    `error` says why `finish_reason` is ERROR.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    usage: Usage
    timings: Timings | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """All answers to one prompt; the properties are those of the first answer.

    `prompt_logprobs`, if requested, has one entry for each prompt token but the first.
    """

    prompt_tokens: tuple[int, ...]
    answers: tuple[Answer, ...]
    prompt_logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def text(self) -> str:
        """The answer; in a chat the content of the message."""
        return self.answers[0].text

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The generated tokens."""
        return self.answers[0].token_ids

    @property
    def finish_reason(self) -> FinishReason:
        """Why the answer ended."""
        return self.answers[0].finish_reason

    @property
    def usage(self) -> Usage:
        """The token counts of the answer."""
        return self.answers[0].usage

    @property
    def timings(self) -> Timings | None:
        """How long the answer took, in milliseconds."""
        return self.answers[0].timings

    @property
    def logprobs(self) -> tuple[TokenLogprob, ...]:
        """The log-probabilities of the generated tokens, if requested."""
        return self.answers[0].logprobs

    @property
    def reasoning(self) -> str:
        """The model's reasoning before its answer, in a chat."""
        return self.answers[0].reasoning

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls of a chat's answer."""
        return self.answers[0].tool_calls

    @property
    def error(self) -> str | None:
        """Why the answer failed, if finish_reason is ERROR."""
        return self.answers[0].error


@dataclass(frozen=True, slots=True)
class StreamPiece:
    """New output of an answer after one step; the last has a `finish_reason` and `timings`.

    In a chat `text` is new content; `reasoning` and `tool_calls` are the rest of the message.
    """

    text: str
    token_ids: tuple[int, ...]
    usage: Usage
    finish_reason: FinishReason | None = None
    timings: Timings | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    error: str | None = None


class PieceReader:
    """Turns the outputs of one request into pieces; for a chat, `parser` splits the message."""

    def __init__(self, parser: OutputParser | None) -> None:
        self._parser = parser

    def read(self, output: RequestOutput) -> StreamPiece:
        """Return the piece for an output; the last output closes the reader."""
        text, reasoning, tool_calls = output.text, "", []
        is_last = output.finish_reason is not None
        if self._parser is not None:
            # The parser must not complete a message that was cut off (max_tokens, cancel).
            is_whole = output.finish_reason is FinishReason.STOP
            deltas = self._parser.feed(output.text, final=is_whole)
            text = "".join(delta.content or "" for delta in deltas)
            reasoning = "".join(delta.reasoning_content or "" for delta in deltas)
            tool_calls = [delta.tool_call for delta in deltas if delta.tool_call]
        if is_last:
            self.close()
        return StreamPiece(
            text=text,
            token_ids=output.token_ids,
            usage=output.usage,
            finish_reason=output.finish_reason,
            timings=output.timings,
            logprobs=output.logprobs,
            prompt_logprobs=output.prompt_logprobs,
            reasoning=reasoning,
            tool_calls=tuple(tool_calls),
            error=output.error,
        )

    def close(self) -> None:
        """Free the parser; a second call does nothing."""
        if self._parser is not None:
            self._parser.close()


class AnswerBuilder:
    """Collects the outputs of one request and builds the answer from them."""

    def __init__(self, make_parser: Callable[[], OutputParser] | None = None) -> None:
        self._make_parser = make_parser
        self._outputs: list[RequestOutput] = []

    @property
    def prompt_logprobs(self) -> tuple[TokenLogprob, ...]:
        """The log-probabilities of the prompt's tokens, from the outputs that were added."""
        return tuple(entry for output in self._outputs for entry in output.prompt_logprobs)

    def add(self, output: RequestOutput) -> Answer | None:
        """Take an output; return the answer if it was the last one, else None."""
        self._outputs.append(output)
        if output.finish_reason is None:
            return None
        text = "".join(output.text for output in self._outputs)
        reasoning = ""
        tool_calls: tuple[ToolCall, ...] = ()
        if self._make_parser is not None:
            is_whole = output.finish_reason is FinishReason.STOP
            with self._make_parser() as parser:
                message = parser.parse(text, partial=not is_whole)
            text, reasoning = message.content, message.reasoning_content
            tool_calls = message.tool_calls
        return Answer(
            text=text,
            token_ids=tuple(token for output in self._outputs for token in output.token_ids),
            finish_reason=output.finish_reason,
            usage=output.usage,
            timings=output.timings,
            logprobs=tuple(entry for output in self._outputs for entry in output.logprobs),
            reasoning=reasoning,
            tool_calls=tool_calls,
            error=output.error,
        )
