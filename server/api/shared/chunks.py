"""The chunks of a streamed chat answer, in the two forms that clients expect."""

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from server.api.shared.answer_documents import (
    logprobs_document,
    progress_document,
    prompt_logprobs_document,
    timings_document,
    tool_call_delta,
    usage_document,
)
from server.protocol.messages import LogprobEntry, SequenceOutput
from server.streams.token_stream import TokenUsage

_NO_CONTENT = b'"content":""'


class ChunkForm(Protocol):
    """Turns the outputs of one request into the documents of its stream."""

    def chunks(self, output: SequenceOutput) -> Sequence[Any]:
        """The documents for one output, which may be none."""

    def ending(self, usage: TokenUsage) -> Sequence[Any]:
        """The documents after the last output."""


class AnswerTag:
    """What all documents of one answer have in common: id, time, model."""

    def __init__(self, prefix: str, model_id: str) -> None:
        self.id = f"{prefix}-{uuid.uuid4().hex[:24]}"
        self.created = int(time.time())
        self.model = model_id

    def document(self, kind: str, choices: list[Any], **more: Any) -> dict[str, Any]:
        """An answer or a chunk of one."""
        head = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return head | {"choices": choices} | more

    def chunk(
        self, index: int, delta: dict[str, Any], finish_reason: str | None = None
    ) -> dict[str, Any]:
        """One chunk with one choice."""
        choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
        return self.document("chat.completion.chunk", [choice])

    def usage_chunk(self, usage: TokenUsage) -> dict[str, Any]:
        """The chunk without choices that closes a stream with `include_usage`."""
        return self.document("chat.completion.chunk", [], usage=usage_document(usage))

    def progress_chunk(self, output: SequenceOutput, delta: dict[str, Any]) -> dict[str, Any]:
        """llama-server's news of a prompt that is being computed, with a delta of no content.

        Its own have the role each time, which OpenAI's client would put together to one word.
        """
        chunk = self.chunk(output.index, delta)
        assert output.progress is not None
        chunk["prompt_progress"] = progress_document(output.progress)
        return chunk


class V2Chunks:
    """/api/v2: the first chunk has the role and the first text, the last has a finish_reason.

    Both have a content, possibly "". An output makes one chunk, or none while nothing is new. Only
    news of a prompt come before the first, if they were asked for; the last has timings. The
    stream's first chunk has the `warnings`, which are asked for once there is an output.
    """

    def __init__(
        self,
        tag: AnswerTag,
        warnings: Callable[[], Sequence[str]] = tuple,
        *,
        include_usage: bool,
        with_logprobs: bool = False,
    ) -> None:
        self._tag = tag
        self._warnings: Callable[[], Sequence[str]] | None = warnings
        self._include_usage = include_usage
        self._with_logprobs = with_logprobs
        self._begun: set[int] = set()
        self._texts = TextChunks()

    def chunks(self, output: SequenceOutput) -> Sequence[Any]:
        """The documents for one output; none for text that is held back still."""
        chunks = self._chunks(output)
        if chunks and self._warnings is not None:
            if warnings := self._warnings():
                chunks[0]["warnings"] = warnings
            self._warnings = None
        return chunks

    def _chunks(self, output: SequenceOutput) -> Sequence[Any]:
        if output.index in self._begun and TextChunks.fits(output):
            return [self._texts.encode(output, self._chunk)]
        if output.progress is not None:
            return [self._tag.progress_chunk(output, {"content": ""})]
        delta = _delta(output)
        is_last = output.finish_reason is not None
        if not delta and not is_last:
            return []
        if is_last:
            delta = {"content": ""} | delta
        if output.index not in self._begun:
            self._begun.add(output.index)
            delta = {"role": "assistant", "content": ""} | delta
        chunk = self._chunk(output.index, delta, output)
        if output.timings is not None:
            chunk["timings"] = timings_document(TokenUsage.of(output.usage), output.timings)
        return _with_prompt([chunk], output)

    def ending(self, usage: TokenUsage) -> list[dict[str, Any]]:
        """The token counts, where asked for."""
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
    """/v1: a first delta with the role, deltas with news, a last one that is empty.

    `fingerprint` is asked once there is an output.
    """

    def __init__(
        self,
        tag: AnswerTag,
        fingerprint: Callable[[], str],
        *,
        include_usage: bool,
        with_logprobs: bool = False,
    ) -> None:
        self._tag = tag
        self._fingerprint = fingerprint
        self._include_usage = include_usage
        self._with_logprobs = with_logprobs
        self._begun: set[int] = set()
        self._texts = TextChunks()

    def chunks(self, output: SequenceOutput) -> Sequence[Any]:
        """The documents for one output."""
        if output.index in self._begun and TextChunks.fits(output):
            return [self._texts.encode(output, self._signed_chunk)]
        documents = []
        if output.progress is not None:
            delta = {"role": "assistant"} if output.index not in self._begun else {}
            self._begun.add(output.index)
            documents.append(self._tag.progress_chunk(output, delta | {"content": None}))
        elif output.index not in self._begun:
            self._begun.add(output.index)
            documents.append(self._tag.chunk(output.index, {"role": "assistant", "content": None}))
        documents += self._news(output)
        if output.finish_reason is not None:
            documents.append(self._tag.chunk(output.index, {}, output.finish_reason))
        if output.timings is not None and documents:
            timings = timings_document(TokenUsage.of(output.usage), output.timings)
            documents[-1]["timings"] = timings
        documents = _with_prompt(documents, output)
        return self._signed(documents)

    def ending(self, usage: TokenUsage) -> list[dict[str, Any]]:
        """The token counts, where asked for."""
        return self._signed([self._tag.usage_chunk(usage)] if self._include_usage else [])

    def _news(self, output: SequenceOutput) -> list[dict[str, Any]]:
        """A chunk for each kind of news; log-probabilities go with the first of them."""
        delta = _delta(output)
        calls = delta.pop("tool_calls", [])
        deltas = [{key: value} for key, value in delta.items()]
        deltas += [{"tool_calls": [call]} for call in calls]
        if output.logprobs and not deltas:
            deltas = [{"content": ""}]
        return [
            self._chunk(output.index, news, output.logprobs if position == 0 else ())
            for position, news in enumerate(deltas)
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
                # OpenAI's chunks have the key from the first on.
                document.setdefault("usage", None)
        return documents


def _with_prompt(documents: list[dict[str, Any]], output: SequenceOutput) -> list[dict[str, Any]]:
    """The chunks of an output, the first of them with what was said of the prompt."""
    if output.prompt_logprobs and documents:
        documents[0]["choices"][0]["prompt_logprobs"] = prompt_logprobs_document(output)
    return documents


def _delta(output: SequenceOutput) -> dict[str, Any]:
    delta: dict[str, Any] = {}
    if output.reasoning:
        delta["reasoning_content"] = output.reasoning
    if output.text:
        delta["content"] = output.text
    if output.tool_calls:
        delta["tool_calls"] = [tool_call_delta(piece) for piece in output.tool_calls]
    return delta


class TextChunks:
    """The chunks of an answer that bring nothing but a piece of text, as JSON.

    They differ in nothing else, and there is one for each token: so the rest is encoded once.
    """

    def __init__(self) -> None:
        self._frames: dict[int, tuple[bytes, bytes]] = {}

    def encode(
        self, output: SequenceOutput, make: Callable[[int, dict[str, Any]], Any]
    ) -> msgspec.Raw:
        """The chunk for `output`; `make` makes one of an index and a delta."""
        frame = self._frames.get(output.index)
        if frame is None:
            whole = msgspec.json.encode(make(output.index, {"content": ""}))
            # Inside of a string the quotes would be escaped: there is no other place like it.
            before, after = whole.split(_NO_CONTENT)
            frame = self._frames[output.index] = before + _NO_CONTENT[:-2], after
        return msgspec.Raw(frame[0] + msgspec.json.encode(output.text) + frame[1])

    @staticmethod
    def fits(output: SequenceOutput) -> bool:
        """Whether text is all that is new."""
        return bool(output.text) and not (
            output.reasoning
            or output.tool_calls
            or output.logprobs
            or output.prompt_logprobs
            or output.finish_reason
            or output.timings
        )
