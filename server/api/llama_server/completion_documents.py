"""What llama-server's completions say, whole and in pieces."""

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
    """Answers to the prompts of one request, `n` to each."""

    def __init__(self, model: str, jobs: Sequence[Job], *, stream: bool) -> None:
        self._model = model
        self._jobs = jobs
        self._settings = full_settings(jobs[0], stream=stream)

    def whole(self, place: int, answer: Answer) -> list[NativeCompletion]:
        """All answers to the prompt at `place`."""
        return [self._whole(place, answer, choice) for choice in answer.choices]

    def end(self, choice: Choice, index: int, usage: TokenUsage) -> NativeCompletion:
        """What there is to say of an answer that has ended."""
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

    def _whole(self, place: int, answer: Answer, choice: Choice) -> NativeCompletion:
        usage = TokenUsage(answer.usage.prompt, choice.n_tokens, answer.usage.cached)
        index = place * self._jobs[0].n + choice.index
        document = self.end(choice, index, usage)
        if choice.prompt_logprobs:
            document = replace(document, prompt_logprobs=prompt_logprobs_document(choice))
        if self._jobs[0].logprobs is None:
            return document
        probabilities = logprobs_document(choice.logprobs)["content"]
        return replace(document, completion_probabilities=probabilities)


class NativeChunks:
    """A stream: pieces with `stop: false`, then for each answer one without text that is its end.

    With `fields` the ends are only those parts of what they would be.
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

    def ending(self, usage: TokenUsage) -> list[Any]:  # noqa: ARG002 - told already
        """Nothing: the last document of each answer had it all."""
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
    """The parts of a document that `fields` name, by their paths; all of it without any."""
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
    """As it was sent; of a gap what was begun."""
    assert isinstance(prompt, TextPrompt | InfillPrompt), "a chat is no completion"
    return prompt.content if isinstance(prompt.content, str) else list(prompt.content)
