"""What completions say, whole and in pieces."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from msgspec import UNSET, UnsetType

from server.answer import Answer, Choice, Timing
from server.api.answer_documents import (
    finite,
    progress_document,
    prompt_logprobs_document,
    timings_document,
    usage_document,
)
from server.api.chunks import AnswerTag
from server.api.completions.schema import CompletionBody, CompletionChoice, LegacyLogprobs
from server.protocol import LogprobEntry, SequenceOutput
from server.stream import TokenUsage

_KIND = "text_completion"


def completion_document(tag: AnswerTag, answers: Sequence[Answer], body: CompletionBody) -> Any:
    """The answers to all prompts in OpenAI's form, with the token counts of all together."""
    choices = [
        CompletionChoice(
            index=place * len(answer.choices) + choice.index,
            text=choice.text,
            finish_reason=_finish_reason(choice.finish_reason),
            logprobs=_legacy(choice, 0, echo=body.echo is True)
            if body.logprobs is not None
            else None,
            prompt_logprobs=_told(body, choice),
        )
        for place, answer in enumerate(answers)
        for choice in answer.choices
    ]
    usage = TokenUsage(
        sum(answer.usage.prompt for answer in answers),
        sum(answer.usage.completion for answer in answers),
        sum(answer.usage.cached for answer in answers),
    )
    more: dict[str, Any] = {"usage": usage_document(usage)}
    if len(answers) == 1:
        more["timings"] = timings_document(usage, answers[0].timing)
    return tag.document(_KIND, choices, **more)


class CompletionChunks:
    """/v1/completions: every chunk has text, the last of an answer its finish_reason."""

    def __init__(
        self,
        tag: AnswerTag,
        fingerprint: Callable[[], str],
        body: CompletionBody,
    ) -> None:
        self._tag = tag
        self._fingerprint = fingerprint
        self._body = body
        self._offsets: dict[int, int] = {}

    def chunks(self, output: SequenceOutput) -> list[dict[str, Any]]:
        """The documents for one output."""
        offset = self._offsets.get(output.index, 0)
        self._offsets[output.index] = offset + len(output.text)
        choice = CompletionChoice(
            index=output.index,
            text=output.text,
            finish_reason=_finish_reason(output.finish_reason),
            logprobs=self._logprobs(output, offset),
            prompt_logprobs=_told(self._body, output),
        )
        chunk = self._chunk([choice])
        if self._body.include_usage:
            chunk["usage"] = None
        if output.progress is not None:
            chunk["prompt_progress"] = progress_document(output.progress)
        if output.timings_ms is not None:
            usage = TokenUsage(output.prompt_tokens, output.completion_tokens, output.cached_tokens)
            chunk["timings"] = timings_document(usage, Timing(*output.timings_ms))
        return [chunk]

    def ending(self, usage: TokenUsage) -> list[dict[str, Any]]:
        """The token counts, where asked for."""
        if not self._body.include_usage:
            return []
        return [self._chunk([]) | {"usage": usage_document(usage)}]

    def _logprobs(self, output: SequenceOutput, offset: int) -> LegacyLogprobs | None:
        if self._body.logprobs is None:
            return None
        return _legacy(output, offset, echo=self._body.echo is True)

    def _chunk(self, choices: list[Any]) -> dict[str, Any]:
        return self._tag.document(_KIND, choices, system_fingerprint=self._fingerprint())


def _finish_reason(reason: str | None) -> Any:
    return reason or None


def _told(
    body: CompletionBody, source: Choice | SequenceOutput
) -> list[dict[str, Any] | None] | UnsetType:
    if body.prompt_logprobs is None or not source.prompt_logprobs:
        return UNSET
    return prompt_logprobs_document(source)


def _legacy(source: Choice | SequenceOutput, offset: int, *, echo: bool) -> LegacyLogprobs:
    """The tokens from `offset` on, those of an echoed prompt first."""
    entries: list[LogprobEntry] = list(source.logprobs)
    tokens: list[str] = []
    if echo and source.prompt_logprobs:
        start, *others = source.prompt_logprobs
        entries = [*others, *entries]
        tokens.append(_text(start.piece))
    n_unpredicted = len(tokens)
    tokens += [_text(entry.piece) for entry in entries]
    nothing: list[None] = [None] * n_unpredicted
    return LegacyLogprobs(
        tokens=tokens,
        token_logprobs=[*nothing, *(finite(entry.logprob) for entry in entries)],
        top_logprobs=[*nothing, *(_top(entry) for entry in entries)],
        text_offset=list(accumulate(map(len, tokens[:-1]), initial=offset)) if tokens else [],
    )


def _top(entry: LogprobEntry) -> dict[str, float]:
    return {_text(piece): finite(value) for _, piece, value in entry.top}


def _text(piece: bytes) -> str:
    return piece.decode(errors="replace")
