"""The chunks of a streamed chat answer, in the two forms that clients expect."""

import time
import uuid
from collections.abc import Callable
from typing import Any, Protocol

from server.api.schema_openai import timings_document, usage_document
from server.stream import Piece


class ChunkForm(Protocol):
    """Turns the pieces of one answer into the documents of its stream."""

    def chunks(self, piece: Piece) -> list[dict[str, Any]]:
        """The documents for one piece, which may be none."""


class AnswerTag:
    """What all documents of one answer have in common: id, time, model."""

    def __init__(self, prefix: str, model_id: str) -> None:
        self.id = f"{prefix}-{uuid.uuid4().hex[:24]}"
        self.created = int(time.time())
        self.model = model_id

    def document(self, kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """An answer or a chunk of one."""
        head = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return head | {"choices": choices} | more

    def chunk(self, delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        """One chunk with one choice."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return self.document("chat.completion.chunk", [choice])

    def usage_chunk(self, piece: Piece) -> dict[str, Any]:
        """The chunk without choices that closes a stream with `include_usage`."""
        return self.document("chat.completion.chunk", [], usage=usage_document(piece.usage))


class V2Chunks:
    """/api/v2: the first chunk has the role and the first text, and every chunk has a content.

    Only the last has a finish_reason; its content is what was left, possibly "".
    """

    def __init__(self, tag: AnswerTag, *, include_usage: bool) -> None:
        self._tag = tag
        self._include_usage = include_usage
        self._is_first = True

    def chunks(self, piece: Piece) -> list[dict[str, Any]]:
        """The documents for one piece; none for text that is held back still."""
        if not piece.text and piece.finish_reason is None:
            return []
        role = {"role": "assistant"} if self._is_first else {}
        self._is_first = False
        documents = [self._tag.chunk(role | {"content": piece.text}, piece.finish_reason)]
        if piece.finish_reason is not None and self._include_usage:
            documents.append(self._tag.usage_chunk(piece))
        return documents


class OpenAIChunks:
    """/v1: a first delta with the role, deltas with text, a last one that is empty.

    `fingerprint` is asked once there is a piece.
    """

    def __init__(
        self, tag: AnswerTag, fingerprint: Callable[[], str], *, include_usage: bool
    ) -> None:
        self._tag = tag
        self._fingerprint = fingerprint
        self._include_usage = include_usage
        self._is_first = True

    def chunks(self, piece: Piece) -> list[dict[str, Any]]:
        """The documents for one piece."""
        documents = []
        if self._is_first:
            documents.append(self._tag.chunk({"role": "assistant", "content": None}, None))
            self._is_first = False
        if piece.text:
            documents.append(self._tag.chunk({"content": piece.text}, None))
        if piece.finish_reason is not None:
            documents.append(self._tag.chunk({}, piece.finish_reason))
            documents[-1]["timings"] = timings_document(piece)
            if self._include_usage:
                documents.append(self._tag.usage_chunk(piece))
        for document in documents:
            document["system_fingerprint"] = self._fingerprint()
        return documents
