"""The documents of /v1, as OpenAI has them and llama-server extends them."""

from typing import Annotated, Any

from msgspec import Meta

from server.api.schema_chat import ChatFields, StreamOptions
from server.errors import InvalidRequestError
from server.generation import ChatJob
from server.model_entry import ModelEntry
from server.stream import Piece, TokenUsage


class CompletionBody(ChatFields, frozen=True, kw_only=True):
    """The body of POST /v1/chat/completions."""

    model: Annotated[str, Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    logprobs: bool | None = None
    tools: list[Any] | None = None
    response_format: dict[str, Any] | None = None

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a chunk of token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def to_job(self) -> ChatJob:
        """The request without its dialect. Raises InvalidRequestError, InvalidParameterError."""
        self._refuse_what_would_be_ignored()
        return ChatJob(
            self.wire_messages(), self.sampling_params(), self.token_limit(), self.stop_strings()
        )

    def _refuse_what_would_be_ignored(self) -> None:
        """An answer that silently lacks what was asked for is worse than an error."""
        plain_text = self.response_format in (None, {"type": "text"})
        asked = {
            "n": self.n not in (None, 1),
            "logprobs": bool(self.logprobs),
            "tools": bool(self.tools),
            "response_format": not plain_text,
        }
        for field, is_asked in asked.items():
            if is_asked:
                raise InvalidRequestError(
                    f"field '{field}' is not supported; leave it out", param=field
                )


def usage_document(usage: TokenUsage) -> dict[str, Any]:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
    }


def timings_document(piece: Piece) -> dict[str, Any]:
    """llama-server's timings; its predicted rate leaves out the first token, and is never null."""
    _, prompt_ms, decode_ms = piece.timings_ms or (0.0, 0.0, 0.0)
    prompt_n = piece.usage.prompt - piece.usage.cached
    predicted_n = piece.usage.completion
    return {
        "cache_n": piece.usage.cached,
        "prompt_n": prompt_n,
        "prompt_ms": prompt_ms,
        "prompt_per_second": _rate(prompt_n, prompt_ms),
        "predicted_n": predicted_n,
        "predicted_ms": decode_ms,
        "predicted_per_second": _rate(max(predicted_n - 1, 0), decode_ms),
    }


def model_document(entry: ModelEntry) -> dict[str, Any]:
    """One element of /v1/models, with the extra keys that clients of peers read."""
    file, header = entry.file, entry.file.header
    n_ctx_train = header.context_length if header else None
    n_ctx = entry.worker.model.n_ctx if entry.is_in_memory else n_ctx_train
    return {
        "id": file.id,
        "object": "model",
        "created": int(file.modified.timestamp()),
        "owned_by": "llamabind",
        "status": {"value": entry.state.value},
        "context_length": n_ctx,
        "max_model_len": n_ctx,
        "meta": {
            "n_ctx": n_ctx,
            "n_ctx_train": n_ctx_train,
            "n_embd": header.embedding_length if header else None,
            "n_params": file.parameter_count,
            "size": file.size,
        },
    }


def _rate(count: int, milliseconds: float) -> float:
    return count * 1000.0 / milliseconds if milliseconds > 0 else 0.0
