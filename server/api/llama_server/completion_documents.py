"""Answers of llama-server's /completion and /infill: whole documents and stream events."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from server.api.llama_server.schema_completion import NativePiece
from server.api.shared.answer_documents import (
    logprobs_document,
    progress_document,
    timings_document,
)
from server.api.shared.native_answer import native_answer, native_end
from server.api.shared.native_completion import NativeCompletion
from server.protocol.job import Job
from server.protocol.outputs import SequenceOutput
from server.streams.answer import Answer, Choice
from server.streams.token_stream import TokenUsage


class NativeAnswers:
    """The answers to the prompts of one request, `n` for each prompt."""

    def __init__(self, model: str, jobs: Sequence[Job], *, stream: bool) -> None:
        self._model = model
        self._jobs = jobs
        self._stream = stream

    def whole(self, prompt_index: int, answer: Answer) -> list[NativeCompletion]:
        """All answers to the prompt `prompt_index`, from 0."""
        job = self._jobs[prompt_index]
        return [
            native_answer(self._model, job, answer, choice, prompt_index * job.n + choice.index)
            for choice in answer.choices
        ]

    def end(self, choice: Choice, index: int, usage: TokenUsage) -> NativeCompletion:
        """The document of an answer whose text was streamed."""
        job = self._jobs[index // self._jobs[0].n]
        return native_end(self._model, job, choice, index, usage, stream=self._stream)


class NativeChunks:
    """The events of a stream: pieces with `stop: false`, and for each answer a last event without
    text that has `stop: true`.

    With `fields` the last events contain only those fields.
    """

    def __init__(self, model: str, answers: NativeAnswers, fields: Sequence[str]) -> None:
        self._model = model
        self._answers = answers
        self._fields = fields
        self._with_new_line: set[int] = set()

    def chunks(self, output: SequenceOutput) -> list[Any]:
        """The documents for one output."""
        documents: list[Any] = []
        usage = TokenUsage.of(output.usage)
        if "\n" in output.text:
            self._with_new_line.add(output.index)
        if output.progress or output.text or output.token_ids or output.logprobs:
            documents.append(self._piece(output, usage))
        if output.finish_reason is not None:
            choice = Choice(output.index)
            choice.add(replace(output, text="", token_ids=(), tool_calls=()))
            end = self._answers.end(choice, output.index, usage)
            end = replace(end, has_new_line=output.index in self._with_new_line)
            documents.append(chosen(end, self._fields))
        return documents

    def ending(self, usage: TokenUsage) -> list[Any]:  # noqa: ARG002 - in the last events
        """Nothing: the last event of each answer has the counts."""
        return []

    def _piece(self, output: SequenceOutput, usage: TokenUsage) -> NativePiece:
        timings, progress = output.timings, output.progress
        timed = UNSET if timings is None else timings_document(usage, timings, progress)
        entries = logprobs_document(output.logprobs)["content"] if output.logprobs else UNSET
        return NativePiece(
            index=output.index,
            content=output.text,
            tokens=list(output.token_ids),
            stop=False,
            tokens_predicted=usage.completion,
            tokens_evaluated=usage.prompt,
            model=self._model,
            timings=timed,
            prompt_progress=UNSET if progress is None else progress_document(progress),
            completion_probabilities=entries,
        )


def chosen(document: NativeCompletion, fields: Sequence[str]) -> Any:
    """The fields of a document with these slash-separated paths; without `fields` all of it."""
    if not fields:
        return document
    whole = msgspec.to_builtins(document)
    found = {path: _at(whole, path.split("/")) for path in fields}
    return {path: value for path, value in found.items() if value is not UNSET}


def _at(value: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return UNSET
        value = value[key]
    return value
