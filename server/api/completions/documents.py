"""What completions say, whole and in pieces."""

from collections.abc import Callable, Sequence
from typing import Any

from server.answer import Answer, Timing
from server.api.answer_documents import logprobs_document, timings_document, usage_document
from server.api.chunks import AnswerTag
from server.api.completions.schema import (
    CompletionChoice,
    LegacyLogprobs,
    NativeCompletion,
)
from server.protocol import LogprobEntry, SequenceOutput
from server.stream import TokenUsage

_KIND = "text_completion"


def completion_document(tag: AnswerTag, answers: Sequence[Answer], *, with_logprobs: bool) -> Any:
    """The answers to all prompts in OpenAI's form, with the token counts of all together."""
    choices = [
        CompletionChoice(
            index=place * len(answer.choices) + choice.index,
            text=choice.text,
            finish_reason=_finish_reason(choice.finish_reason),
            logprobs=_legacy(choice.logprobs, 0) if with_logprobs else None,
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
        *,
        include_usage: bool,
        with_logprobs: bool,
    ) -> None:
        self._tag = tag
        self._fingerprint = fingerprint
        self._include_usage = include_usage
        self._with_logprobs = with_logprobs
        self._offsets: dict[int, int] = {}

    def chunks(self, output: SequenceOutput) -> list[dict[str, Any]]:
        """The documents for one output."""
        if output.progress is not None:
            return []
        offset = self._offsets.get(output.index, 0)
        self._offsets[output.index] = offset + len(output.text)
        choice = CompletionChoice(
            index=output.index,
            text=output.text,
            finish_reason=_finish_reason(output.finish_reason),
            logprobs=_legacy(output.logprobs, offset) if self._with_logprobs else None,
        )
        return [self._chunk([choice])]

    def ending(self, usage: TokenUsage) -> list[dict[str, Any]]:
        """The token counts, where asked for."""
        if not self._include_usage:
            return []
        return [self._chunk([]) | {"usage": usage_document(usage)}]

    def _chunk(self, choices: list[Any]) -> dict[str, Any]:
        return self._tag.document(_KIND, choices, system_fingerprint=self._fingerprint())


class NativeChunks:
    """/completion: pieces with `stop: false`, then one without text and `stop: true`."""

    def __init__(self, model: str) -> None:
        self._model = model

    def chunks(self, output: SequenceOutput) -> list[NativeCompletion]:
        """The documents for one output."""
        documents = []
        if output.text or output.token_ids or output.logprobs:
            documents.append(native_piece(self._model, output))
        if output.finish_reason is not None:
            usage = TokenUsage(output.prompt_tokens, output.completion_tokens, output.cached_tokens)
            timing = Timing(*(output.timings_ms or (0.0, 0.0, 0.0)))
            documents.append(
                native_end(self._model, output.finish_reason, output.stop_string, usage, timing)
            )
        return documents

    def ending(self, usage: TokenUsage) -> list[NativeCompletion]:  # noqa: ARG002 - told already
        """Nothing: the last document had it all."""
        return []


def native_piece(model: str, output: SequenceOutput) -> NativeCompletion:
    """Some of an answer."""
    return NativeCompletion(
        content=output.text,
        stop=False,
        tokens=list(output.token_ids),
        tokens_predicted=output.completion_tokens,
        tokens_evaluated=output.prompt_tokens,
        tokens_cached=output.cached_tokens,
        model=model,
        stop_type="none",
        stopping_word="",
        completion_probabilities=logprobs_document(output.logprobs)["content"],
    )


def native_end(
    model: str, finish_reason: str, stop_string: str | None, usage: TokenUsage, timing: Timing
) -> NativeCompletion:
    """The last piece: why it ended, and how long it took."""
    return NativeCompletion(
        content="",
        stop=True,
        tokens=[],
        tokens_predicted=usage.completion,
        tokens_evaluated=usage.prompt,
        tokens_cached=usage.cached,
        model=model,
        stop_type=(
            "limit" if finish_reason == "length" else "eos" if stop_string is None else "word"
        ),
        stopping_word=stop_string or "",
        timings=timings_document(usage, timing),
    )


def _finish_reason(reason: str | None) -> Any:
    return reason or None


def _legacy(entries: Sequence[LogprobEntry], offset: int) -> LegacyLogprobs:
    offsets = []
    for entry in entries:
        offsets.append(offset)
        offset += len(_text(entry.piece))
    return LegacyLogprobs(
        tokens=[_text(entry.piece) for entry in entries],
        token_logprobs=[_finite(entry.logprob) for entry in entries],
        top_logprobs=[
            {_text(piece): _finite(value) for _, piece, value in entry.top} for entry in entries
        ],
        text_offset=offsets,
    )


def _text(piece: bytes) -> str:
    return piece.decode(errors="replace")


def _finite(logprob: float) -> float:
    # JSON has no infinity; -9999.0 is what OpenAI says for "very unlikely".
    return max(logprob, -9999.0)
