"""GET /v1/models: OpenAI's list of models, with the keys of llama-server, vLLM and Ollama."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from server.api.schema.replies.units import Count, Status


class ModelStatus(msgspec.Struct):
    """`value` is llama-server's status, `state` this server's; `reason` says why a load failed."""

    value: Literal["unloaded", "loading", "loaded"]
    state: Status
    progress: float | UnsetType = UNSET
    failed: bool | UnsetType = UNSET
    reason: str | UnsetType | None = UNSET


class ModelMeta(msgspec.Struct):
    """Values from the GGUF header; `n_ctx` of a loaded model is the most one request may use."""

    vocab_type: int | None
    n_vocab: Count | None
    n_ctx: Count | None
    n_ctx_train: Count | None
    n_embd: Count | None
    n_params: Count
    size: Count
    ftype: str | None


class OpenAIModel(msgspec.Struct):
    """A model in OpenAI's form, with keys that clients of llama-server and vLLM read."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    aliases: list[str]
    status: ModelStatus
    capabilities: list[str]
    context_length: Count | None
    max_model_len: Count | None
    meta: ModelMeta


class NativeModel(msgspec.Struct):
    """A model as llama-server lists it beside OpenAI's `data`, in Ollama's form."""

    name: str
    model: str
    modified_at: str
    size: Count
    digest: str
    type: Literal["model"]
    description: str
    tags: list[str]
    capabilities: list[str]
    parameters: str
    details: dict[str, Any]


class OpenAIModels(msgspec.Struct):
    """GET /v1/models."""

    object: Literal["list"]
    data: list[OpenAIModel]
    models: list[NativeModel]
