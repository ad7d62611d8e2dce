"""Answers of llama-server's /completion and /infill: whole documents and stream events."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from server.api.llama_server.schema_completion import NativeCompletion, NativePiece
from server.api.shared.answer_documents import (
    logprobs_document,
    progress_document,
    prompt_logprobs_document,
    timings_document,
)
from server.protocol.generation_settings import full_settings
from server.protocol.job import InfillPrompt, Job, TextPrompt
from server.protocol.messages import SequenceOutput
from server.streams.answer import Answer, Choice
from server.streams.token_stream import TokenUsage


class NativeAnswers:
    """The answers to the prompts of one request, `n` for each prompt."""

    def __init__(self, model: str, jobs: Sequence[Job], *, stream: bool) -> None:
        self._model = model
        self._jobs = jobs
        self._settings = full_settings(jobs[0], stream=stream)

    def whole(self, prompt_index: int, answer: Answer) -> list[NativeCompletion]:
        """All answers to the prompt `prompt_index`, from 0."""
        return [self._whole(prompt_index, answer, choice) for choice in answer.choices]

    def end(self, choice: Choice, index: int, usage: TokenUsage) -> NativeCompletion:
        """The document of an answer that has ended; in a stream without its text."""
        job = self._jobs[index // self._jobs[0].n]
        is_limit = choice.finish_reason == "length"
        return NativeCompletion(
            index=index,
            content=choice.text,
            tokens=choice.token_ids,
            id_slot=-1 if choice.seq_id is None else choice.seq_id,
            stop=True,
            model=self._model,
            tokens_predicted=usage.completion,
            tokens_evaluated=usage.prompt,
            generation_settings=self._settings,
            prompt=_prompt(job.prompt),
            has_new_line="\n" in choice.text,
            truncated=False,
            stop_type="limit" if is_limit else "eos" if choice.stop_string is None else "word",
            stopping_word=choice.stop_string or "",
            tokens_cached=usage.cached,
            timings=timings_document(usage, choice.timings),
        )

    def _whole(self, prompt_index: int, answer: Answer, choice: Choice) -> NativeCompletion:
        usage = TokenUsage(answer.usage.prompt, choice.n_tokens, answer.usage.cached)
        index = prompt_index * self._jobs[0].n + choice.index
        document = self.end(choice, index, usage)
        if choice.prompt_logprobs:
            document = replace(document, prompt_logprobs=prompt_logprobs_document(choice))
        if self._jobs[0].logprobs is None:
            return document
        probabilities = logprobs_document(choice.logprobs)["content"]
        return replace(document, completion_probabilities=probabilities)


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
        entries = logprobs_document(output.logprobs)["content"] if output.logprobs else UNSET
        return NativePiece(
            index=output.index,
            content=output.text,
            tokens=list(output.token_ids),
            stop=False,
            tokens_predicted=usage.completion,
            tokens_evaluated=usage.prompt,
            model=self._model,
            timings=UNSET if timings is None else timings_document(usage, timings),
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


def _prompt(prompt: Any) -> str | list[int | str]:
    """The prompt as it was sent; of an infill its field `prompt`."""
    assert isinstance(prompt, TextPrompt | InfillPrompt), "completions have no chat prompts"
    return prompt.content if isinstance(prompt.content, str) else list(prompt.content)
