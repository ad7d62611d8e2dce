"""The chunks of a streamed chat answer: the forms of /api/v2 and of OpenAI."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from llamabind.request import Timings
from server.api.shared.answer_documents import (
    logprobs_document,
    progress_document,
    prompt_logprobs_document,
    timings_document,
    usage_document,
)
from server.api.shared.call_deltas import CallDeltas
from server.api.shared.native_answer import VERBOSE, streamed_end
from server.protocol.job import Job, ToolForm
from server.protocol.outputs import LogprobEntry, SequenceOutput
from server.streams.token_stream import TokenUsage

_NO_CONTENT = b'"content":""'


class ChunkForm(Protocol):
    """Turns the outputs of one request into the documents of its output stream."""

    def chunks(self, output: SequenceOutput) -> Sequence[Any]:
        """The documents for one output; may be empty."""

    def ending(self, usage: TokenUsage) -> Sequence[Any]:
        """The documents after the last output."""


class AnswerTag:
    """The fields that all documents of one answer share: id, time, model."""

    def __init__(self, prefix: str, model_id: str) -> None:
        self.id = f"{prefix}-{uuid.uuid4().hex[:24]}"
        self.created = int(time.time())
        self.model = model_id

    def document(self, kind: str, choices: list[Any], **more: Any) -> dict[str, Any]:
        """A whole answer or a chunk of one; `kind` is the value of `object`."""
        head = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return head | {"choices": choices} | more

    def chunk(
        self, index: int, delta: dict[str, Any], finish_reason: str | None = None
    ) -> dict[str, Any]:
        """One chunk with one choice."""
        choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
        return self.document("chat.completion.chunk", [choice])

    def usage_chunk(self, usage: TokenUsage) -> dict[str, Any]:
        """The last chunk of a stream with `include_usage`, which has no choices."""
        return self.document("chat.completion.chunk", [], usage=usage_document(usage))

    def progress_chunk(self, output: SequenceOutput, delta: dict[str, Any]) -> dict[str, Any]:
        """llama-server's progress of a prompt that is being computed, with an empty `delta`.

        llama-server repeats the role in each one; OpenAI's client would concatenate them.
        """
        chunk = self.chunk(output.index, delta)
        assert output.progress is not None
        chunk["prompt_progress"] = progress_document(output.progress)
        return chunk


class V2Chunks:
    """/api/v2: an answer's first chunk has the role and the first text, its last a finish_reason.

    Both have a `content`, possibly "". An output becomes one chunk, or none if it brings nothing
    new. Progress of the prompt may precede the first chunk, if requested; the last has timings.
    The stream's first chunk has the `warnings`, which are read when there is an output.
    """

    def __init__(
        self,
        tag: AnswerTag,
        warnings: Callable[[], Sequence[str]] = tuple,
        *,
        include_usage: bool,
        with_logprobs: bool = False,
        forms: Mapping[str, ToolForm] | None = None,
    ) -> None:
        self._tag = tag
        self._calls = CallDeltas(forms or {})
        self._warnings: Callable[[], Sequence[str]] | None = warnings
        self._include_usage = include_usage
        self._with_logprobs = with_logprobs
        self._started: set[int] = set()
        self._texts = TextChunks()

    def chunks(self, output: SequenceOutput) -> Sequence[Any]:
        """The documents for one output; empty while its text is held back."""
        chunks = self._chunks(output)
        if chunks and self._warnings is not None:
            if warnings := self._warnings():
                chunks[0]["warnings"] = warnings
            self._warnings = None
        return chunks

    def _chunks(self, output: SequenceOutput) -> Sequence[Any]:
        if output.index in self._started and TextChunks.fits(output):
            return [self._texts.encode(output, self._chunk)]
        if output.progress is not None:
            chunk = self._tag.progress_chunk(output, {"content": ""})
            if output.timings is not None:
                chunk["timings"] = _timings(output, output.timings)
            return [chunk]
        delta = _delta(output, self._calls)
        is_last = output.finish_reason is not None
        if not delta and not is_last:
            return []
        if is_last:
            delta = {"content": ""} | delta
        if output.index not in self._started:
            self._started.add(output.index)
            delta = {"role": "assistant", "content": ""} | delta
        chunk = self._chunk(output.index, delta, output)
        if output.timings is not None:
            chunk["timings"] = _timings(output, output.timings)
        return _with_prompt([chunk], output)

    def ending(self, usage: TokenUsage) -> list[dict[str, Any]]:
        """The chunk of token counts, with `include_usage`."""
        return [self._tag.usage_chunk(usage)] if self._include_usage else []

    def _chunk(
        self, index: int, delta: dict[str, Any], output: SequenceOutput | None = None
    ) -> dict[str, Any]:
        chunk = self._tag.chunk(index, delta, output.finish_reason if output else None)
        if self._with_logprobs:
            entries = output.logprobs if output else ()
            chunk["choices"][0]["logprobs"] = logprobs_document(entries)
        return chunk


class OpenAIChunks:
    """/v1: a first chunk with the role, chunks with content, a last one with an empty delta.

    `fingerprint` is called when there is an output. With `verbose_job` the last chunk of an answer
    has it in llama-server's own form too, without the text that was sent before. The last chunk of
    the stream has timings, as llama-server's; with `include_usage` it is that of the token counts.
    """

    def __init__(
        self,
        tag: AnswerTag,
        fingerprint: Callable[[], str],
        *,
        include_usage: bool,
        with_logprobs: bool = False,
        forms: Mapping[str, ToolForm] | None = None,
        verbose_job: Job | None = None,
    ) -> None:
        self._verbose_job = verbose_job
        self._tag = tag
        self._calls = CallDeltas(forms or {})
        self._fingerprint = fingerprint
        self._include_usage = include_usage
        self._with_logprobs = with_logprobs
        self._started: set[int] = set()
        self._texts = TextChunks()
        self._timings: dict[str, Any] | None = None

    def chunks(self, output: SequenceOutput) -> Sequence[Any]:
        """The documents for one output."""
        if output.index in self._started and TextChunks.fits(output):
            return [self._texts.encode(output, self._signed_chunk)]
        documents = []
        if output.progress is not None:
            delta = {"role": "assistant"} if output.index not in self._started else {}
            self._started.add(output.index)
            documents.append(self._tag.progress_chunk(output, delta | {"content": None}))
        elif output.index not in self._started:
            self._started.add(output.index)
            documents.append(self._tag.chunk(output.index, {"role": "assistant", "content": None}))
        documents += self._content_chunks(output)
        if output.finish_reason is not None:
            documents.append(self._tag.chunk(output.index, {}, output.finish_reason))
        if output.timings is not None and documents:
            self._timings = _timings(output, output.timings)
            documents[-1]["timings"] = self._timings
        if output.finish_reason is not None and self._verbose_job is not None:
            documents[-1][VERBOSE] = streamed_end(self._tag.model, self._verbose_job, output)
        documents = _with_prompt(documents, output)
        return self._signed(documents)

    def ending(self, usage: TokenUsage) -> list[dict[str, Any]]:
        """The chunk of token counts, with `include_usage`."""
        if not self._include_usage:
            return []
        chunk = self._tag.usage_chunk(usage)
        if self._timings is not None:
            chunk["timings"] = self._timings
        return self._signed([chunk])

    def _content_chunks(self, output: SequenceOutput) -> list[dict[str, Any]]:
        """A chunk for each kind of content; log-probabilities go into the first of them."""
        delta = _delta(output, self._calls)
        calls = delta.pop("tool_calls", [])
        deltas = [{key: value} for key, value in delta.items()]
        deltas += [{"tool_calls": [call]} for call in calls]
        logprobs = output.logprobs
        if logprobs and not deltas:
            deltas = [{"content": ""}]
        return [
            self._chunk(output.index, part, logprobs if position == 0 else ())
            for position, part in enumerate(deltas)
        ]

    def _chunk(
        self, index: int, delta: dict[str, Any], logprobs: Sequence[LogprobEntry] = ()
    ) -> dict[str, Any]:
        chunk = self._tag.chunk(index, delta)
        if self._with_logprobs:
            chunk["choices"][0]["logprobs"] = logprobs_document(logprobs)
        return chunk

    def _signed_chunk(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        return self._signed([self._chunk(index, delta)])[0]

    def _signed(self, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for document in documents:
            document["system_fingerprint"] = self._fingerprint()
            if self._include_usage:
                # With include_usage all of OpenAI's chunks have the key, null before the last.
                document.setdefault("usage", None)
        return documents


def _timings(output: SequenceOutput, timings: Timings) -> dict[str, Any]:
    return timings_document(TokenUsage.of(output.usage), timings, output.progress)


def _with_prompt(documents: list[dict[str, Any]], output: SequenceOutput) -> list[dict[str, Any]]:
    """The chunks of an output; the first gets the log-probabilities of the prompt, if any."""
    if output.packed_prompt_logprobs and documents:
        documents[0]["choices"][0]["prompt_logprobs"] = prompt_logprobs_document(output)
    return documents


def _delta(output: SequenceOutput, calls: CallDeltas) -> dict[str, Any]:
    delta: dict[str, Any] = {}
    if output.reasoning:
        delta["reasoning_content"] = output.reasoning
    if output.text:
        delta["content"] = output.text
    if called := calls.deltas(output):
        delta["tool_calls"] = called
    return delta


class TextChunks:
    """Encodes chunks that contain nothing but a piece of text.

    There is one for each token, and only the text differs, so everything else is encoded once.
    """

    def __init__(self) -> None:
        self._frames: dict[int, tuple[bytes, bytes]] = {}

    def encode(
        self, output: SequenceOutput, make: Callable[[int, dict[str, Any]], Any]
    ) -> msgspec.Raw:
        """The JSON of the chunk for `output`; `make` builds a chunk from an index and a delta."""
        frame = self._frames.get(output.index)
        if frame is None:
            whole = msgspec.json.encode(make(output.index, {"content": ""}))
            # Occurs once: inside a string the quotes would be escaped.
            before, after = whole.split(_NO_CONTENT)
            frame = self._frames[output.index] = before + _NO_CONTENT[:-2], after
        return msgspec.Raw(frame[0] + msgspec.json.encode(output.text) + frame[1])

    @staticmethod
    def fits(output: SequenceOutput) -> bool:
        """Whether the output contains text and nothing else."""
        return bool(output.text) and not (
            output.reasoning
            or output.tool_calls
            or output.packed_logprobs
            or output.packed_prompt_logprobs
            or output.finish_reason
            or output.timings
        )
