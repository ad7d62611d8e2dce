"""Answers of /v1/completions: whole documents and stream chunks."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from llamabind.scheduling.detokenizer import Detokenizer
from server.api.openai.completion_schema import CompletionBody, CompletionChoice, LegacyLogprobs
from server.api.shared.answer_documents import (
    finite,
    progress_document,
    prompt_logprobs_document,
    timings_document,
    usage_document,
)
from server.api.shared.chunks import AnswerTag
from server.api.shared.native_answer import VERBOSE, streamed_end
from server.protocol.job import Job
from server.protocol.outputs import LogprobEntry, SequenceOutput
from server.streams.answer import Answer, Choice
from server.streams.token_stream import TokenUsage

_KIND = "text_completion"


def completion_document(tag: AnswerTag, answers: Sequence[Answer], body: CompletionBody) -> Any:
    """The answers to all prompts in OpenAI's form, with the sums of their token counts."""
    choices = [
        CompletionChoice(
            index=prompt_index * len(answer.choices) + choice.index,
            text=choice.text,
            finish_reason=_finish_reason(choice.finish_reason),
            logprobs=_legacy(choice, _Offsets(), echo=body.echo is True)
            if body.logprobs is not None
            else None,
            prompt_logprobs=_prompt_logprobs(body, choice),
        )
        for prompt_index, answer in enumerate(answers)
        for choice in answer.choices
    ]
    usage = TokenUsage(
        sum(answer.usage.prompt for answer in answers),
        sum(answer.usage.completion for answer in answers),
        sum(answer.usage.cached for answer in answers),
    )
    more: dict[str, Any] = {"usage": usage_document(usage)}
    if len(answers) == 1:
        more["timings"] = timings_document(usage, answers[0].timings)
    return tag.document(_KIND, choices, **more)


class CompletionChunks:
    """/v1/completions: every chunk has text, the last one of an answer a finish_reason."""

    def __init__(
        self,
        tag: AnswerTag,
        fingerprint: Callable[[], str],
        body: CompletionBody,
        verbose_jobs: Sequence[Job] = (),
    ) -> None:
        self._verbose_jobs = verbose_jobs
        self._tag = tag
        self._fingerprint = fingerprint
        self._body = body
        self._offsets: dict[int, _Offsets] = {}

    def chunks(self, output: SequenceOutput) -> list[dict[str, Any]]:
        """The documents for one output."""
        choice = CompletionChoice(
            index=output.index,
            text=output.text,
            finish_reason=_finish_reason(output.finish_reason),
            logprobs=self._logprobs(output),
            prompt_logprobs=_prompt_logprobs(self._body, output),
        )
        chunk = self._chunk([choice])
        if self._body.include_usage:
            chunk["usage"] = None
        if output.progress is not None:
            chunk["prompt_progress"] = progress_document(output.progress)
        if output.timings is not None:
            chunk["timings"] = timings_document(TokenUsage.of(output.usage), output.timings)
        if self._verbose_jobs and output.finish_reason is not None:
            job = self._verbose_jobs[output.index // self._verbose_jobs[0].n]
            chunk[VERBOSE] = streamed_end(self._tag.model, job, output)
        return [chunk]

    def ending(self, usage: TokenUsage) -> list[dict[str, Any]]:
        """The chunk of token counts, with `include_usage`."""
        if not self._body.include_usage:
            return []
        return [self._chunk([]) | {"usage": usage_document(usage)}]

    def _logprobs(self, output: SequenceOutput) -> LegacyLogprobs | None:
        if self._body.logprobs is None:
            return None
        offsets = self._offsets.setdefault(output.index, _Offsets())
        return _legacy(output, offsets, echo=self._body.echo is True)

    def _chunk(self, choices: list[Any]) -> dict[str, Any]:
        return self._tag.document(_KIND, choices, system_fingerprint=self._fingerprint())


class _Offsets:
    """Offsets of an answer's tokens in its text, in characters. Tokens that together form one
    character have the same offset.
    """

    def __init__(self) -> None:
        self._n = 0
        self._detokenizer = Detokenizer()

    def take(self, pieces: Sequence[bytes]) -> list[int]:
        """The offsets of the next tokens."""
        offsets = []
        for piece in pieces:
            offsets.append(self._n)
            self._n += len(self._detokenizer.feed(piece))
        return offsets

    def end_prompt(self) -> None:
        """End the echoed prompt: the answer cannot complete its last character."""
        self._n += len(self._detokenizer.finish())


def _finish_reason(reason: str | None) -> Any:
    return reason or None


def _prompt_logprobs(
    body: CompletionBody, source: Choice | SequenceOutput
) -> list[dict[str, Any] | None] | UnsetType:
    if body.prompt_logprobs is None or not source.prompt_logprobs:
        return UNSET
    return prompt_logprobs_document(source)


def _legacy(source: Choice | SequenceOutput, offsets: _Offsets, *, echo: bool) -> LegacyLogprobs:
    """OpenAI's older form of log-probabilities; an echoed prompt's tokens come first."""
    entries: list[LogprobEntry] = list(source.logprobs)
    pieces: list[bytes] = []
    text_offset: list[int] = []
    unpredicted: list[None] = []
    if echo and source.prompt_logprobs:
        # Nothing predicts the first token of the prompt.
        entries = [*source.prompt_logprobs[1:], *entries]
        pieces = [entry.piece for entry in source.prompt_logprobs]
        text_offset = offsets.take(pieces)
        offsets.end_prompt()
        unpredicted = [None]
    generated = [entry.piece for entry in source.logprobs]
    return LegacyLogprobs(
        tokens=[_text(piece) for piece in (*pieces, *generated)],
        token_logprobs=[*unpredicted, *(finite(entry.logprob) for entry in entries)],
        top_logprobs=[*unpredicted, *(_top(entry) for entry in entries)],
        text_offset=[*text_offset, *offsets.take(generated)],
    )


def _top(entry: LogprobEntry) -> dict[str, float]:
    return {_text(piece): finite(value) for _, piece, value in entry.top}


def _text(piece: bytes) -> str:
    return piece.decode(errors="replace")
