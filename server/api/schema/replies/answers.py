"""Answers of models, whole and in chunks, in OpenAI's form."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from server.api.schema.replies.units import Count


class AnswerMessage(msgspec.Struct):
    """The model's message; `content` may be null beside tool calls in the OpenAI dialect."""

    role: Literal["assistant"]
    content: str | None
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[dict[str, Any]] | UnsetType = UNSET


class AnswerChoice(msgspec.Struct):
    """One answer."""

    index: Count
    message: AnswerMessage
    finish_reason: Literal["stop", "length", "tool_calls"]


class TokenCounts(msgspec.Struct):
    """Token counts of prompt and answer."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count


class ChatDocument(msgspec.Struct):
    """A whole answer. On /api/v2 `warnings` lists the parts of the request that were ignored."""

    id: str
    object: Literal["chat.completion"]
    created: Count
    model: str
    choices: list[AnswerChoice]
    usage: TokenCounts
    warnings: list[str] | UnsetType = UNSET


class ChunkDelta(msgspec.Struct):
    """New content of an answer; the role comes once. On /api/v2 `content` is never null."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[dict[str, Any]] | UnsetType = UNSET


class ChunkChoice(msgspec.Struct):
    """New content of the answer `index`; only its last chunk has a finish_reason."""

    index: Count
    delta: ChunkDelta
    finish_reason: Literal["stop", "length", "tool_calls"] | None
    logprobs: dict[str, Any] | UnsetType | None = UNSET


class ChunkDocument(msgspec.Struct):
    """One event of a streamed answer; the last event is the text [DONE]. An error in mid-stream is
    an event with `error`, without a [DONE] after it. On /api/v2 the first has `warnings` if parts
    of the request were ignored.
    """

    id: str
    object: Literal["chat.completion.chunk"]
    created: Count
    model: str
    choices: list[ChunkChoice]
    usage: TokenCounts | UnsetType | None = UNSET
    timings: dict[str, float] | UnsetType = UNSET
    prompt_progress: dict[str, float] | UnsetType = UNSET
    warnings: list[str] | UnsetType = UNSET


class InputTokens(msgspec.Struct, frozen=True, kw_only=True):
    """The number of prompt tokens of a request."""

    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: Count
