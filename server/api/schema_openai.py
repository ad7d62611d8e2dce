"""The documents of /v1, as OpenAI has them and llama-server extends them."""

from typing import Annotated, Any

from msgspec import Meta

from server.api.schema_chat import ChatFields
from server.model_entry import ModelEntry


class CompletionBody(ChatFields, frozen=True, kw_only=True):
    """The body of POST /v1/chat/completions."""

    model: Annotated[str, Meta(min_length=1)] | None = None
    stream: bool | None = None


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
