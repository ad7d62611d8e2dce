"""What answers look like, for the OpenAPI description; tests hold real answers against it.

Documents may have keys beyond these. Requests are described by the structs that parse them.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from server.protocol.load_settings import LoadSettings

UtcTime = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$",
        description="UTC, as 2024-01-15T12:00:00Z",
    ),
]
ByteSize = Annotated[
    str, Meta(pattern=r"^\d+\.\d(MB|GB)$", description="1024-based, as 4.5GB or 12.4MB")
]
Uptime = Annotated[str, Meta(pattern=r"^\d+d \d+h \d+m$", description="as 2d 3h 45m")]
Ttl = Annotated[
    float, Meta(ge=-1, description="seconds that it stays when nobody uses it; -1 is for ever")
]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Status = Literal["unloaded", "queued", "loading", "loaded", "draining", "failed", "broken"]


class ErrorDetail(msgspec.Struct):
    """`type` and `code` are for programs, `param` names the field. Some errors have more keys."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorDocument(msgspec.Struct):
    """Every answer that is not a success."""

    error: ErrorDetail


class ModelParameters(msgspec.Struct):
    """From the GGUF header; null where it does not say."""

    context_length: Count | None
    embedding_length: Count | None
    block_count: Count | None


class ModelMetadata(msgspec.Struct):
    """From the GGUF header, for models that are not loaded too."""

    model_type: str | None
    parameters: ModelParameters
    name: str | None
    file_type: Count | None
    parameter_count: Count


class ModelFailure(msgspec.Struct):
    """Why a model is `failed` or `broken`, and the last lines of its log."""

    reason: str | None
    detail: str
    log: list[str]


class AvailableModel(msgspec.Struct):
    """A model on disk; nothing is known but its name where `size` is 0 and it is `broken`."""

    id: str
    size: Count
    modified: UtcTime
    status: Status
    metadata: ModelMetadata
    failure: ModelFailure | UnsetType = UNSET


class LoadedSummary(msgspec.Struct):
    """A model in memory."""

    status: Status
    load_time: UtcTime
    ttl: Ttl
    pinned: bool


class ModelsDocument(msgspec.Struct):
    """GET /api/v2/models."""

    available_models: list[AvailableModel]
    loaded_models: dict[str, LoadedSummary]


class DeviceDocument(msgspec.Struct):
    """A device, in bytes; null where its driver does not say."""

    device: str
    kind: Literal["host", "gpu"]
    used_bytes: Count
    model_bytes: Count
    context_bytes: Count
    compute_bytes: Count
    free_bytes: int | None
    total_bytes: int | None


class SettingsDocument(msgspec.Struct):
    """What was asked for, what holds where nothing was, and what came of it, by the names of
    settings and some more; null while the model is not in memory.
    """

    requested: LoadSettings
    defaults: LoadSettings
    effective: dict[str, Any] | None


class EngineDocument(msgspec.Struct):
    """The model's process and what it does; nulls where it did not say in time."""

    pid: int
    running: Count | None
    waiting: Count | None
    kv_cells_used: Count | None
    step_seconds: float | None
    prompt_tokens_per_second: float | None
    generated_tokens_per_second: float | None
    n_ctx: Count


class Performance(msgspec.Struct):
    """`average_speed` is tokens per second; the counters live as long as the server."""

    load_time: UtcTime | None
    tokens_processed: Count
    average_speed: Annotated[float, Meta(ge=0)]


class ModelDocument(AvailableModel, kw_only=True):
    """GET /api/v2/models/{model_id}."""

    performance: Performance
    settings: SettingsDocument
    memory: list[DeviceDocument] | None
    warnings: list[str]
    engine: EngineDocument | None
    progress: Fraction | UnsetType = UNSET


class LoadDocument(msgspec.Struct):
    """A model is loaded."""

    status: Literal["success"]
    message: str
    load_time: UtcTime
    memory_used: ByteSize
    settings: SettingsDocument
    memory: list[DeviceDocument]
    warnings: list[str]


class EstimatedSettings(msgspec.Struct):
    """What was asked for, and the sizes that would come of it."""

    requested: LoadSettings
    effective: dict[str, int]


class EstimateDocument(msgspec.Struct):
    """What a load would take now; `evicts` would go for it, `waits_for` are busy with requests."""

    id: str
    fits: bool
    evicts: list[str]
    waits_for: list[str]
    memory_needed: ByteSize
    memory: list[DeviceDocument]
    settings: EstimatedSettings
    warnings: list[str]


class UnloadDocument(msgspec.Struct):
    """A model is unloaded."""

    status: Literal["success"]
    message: str
    unload_time: UtcTime


class AnswerMessage(msgspec.Struct):
    """What the model said; `content` may be null beside tool calls in the OpenAI dialect."""

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
    """Tokens of prompt and answer."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count


class ChatDocument(msgspec.Struct):
    """A whole answer. On /api/v2 `warnings` say what of the request was left out, if anything."""

    id: str
    object: Literal["chat.completion"]
    created: Count
    model: str
    choices: list[AnswerChoice]
    usage: TokenCounts
    warnings: list[str] | UnsetType = UNSET


class ChunkDelta(msgspec.Struct):
    """What is new of an answer; the role comes once. On /api/v2 a content is never null."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[dict[str, Any]] | UnsetType = UNSET


class ChunkChoice(msgspec.Struct):
    """News of the answer `index`; only its last chunk has a finish_reason."""

    index: Count
    delta: ChunkDelta
    finish_reason: Literal["stop", "length", "tool_calls"] | None
    logprobs: dict[str, Any] | UnsetType | None = UNSET


class ChunkDocument(msgspec.Struct):
    """One event of a streamed answer; the last one of all is the text [DONE]. An error in
    mid-stream is an event with `error`, and no [DONE] follows. On /api/v2 the first has `warnings`
    where something of the request was left out.
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


class HealthDocument(msgspec.Struct):
    """GET /api/v2/health."""

    status: Literal["healthy"]
    version: str
    uptime: Uptime
    last_error: str | None


class ProbedModel(msgspec.Struct):
    """A model that is more than a file; `stalled` has work and makes no step."""

    status: Status
    progress: Fraction | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    running: Count | UnsetType = UNSET
    waiting: Count | UnsetType = UNSET
    stalled: bool | UnsetType = UNSET


class ProbeDocument(msgspec.Struct):
    """What probes read; /health has `models` by id too, where the caller may know them."""

    status: Literal["ok", "ready"]
    models: dict[str, ProbedModel] | UnsetType = UNSET
    model: str | UnsetType = UNSET


class ModelStatus(msgspec.Struct):
    """`value` is llama-server's word, `state` ours; `reason` says why a load failed."""

    value: Literal["unloaded", "loading", "loaded"]
    state: Status
    progress: float | UnsetType = UNSET
    failed: bool | UnsetType = UNSET
    reason: str | UnsetType | None = UNSET


class ModelMeta(msgspec.Struct):
    """Of the GGUF header; `n_ctx` is what one request may use, when the model is loaded."""

    vocab_type: int | None
    n_vocab: Count | None
    n_ctx: Count | None
    n_ctx_train: Count | None
    n_embd: Count | None
    n_params: Count
    size: Count
    ftype: str | None


class OpenAIModel(msgspec.Struct):
    """A model in OpenAI's form, with the keys that clients of peers read."""

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


class OpenAIModels(msgspec.Struct):
    """GET /v1/models."""

    object: Literal["list"]
    data: list[OpenAIModel]


class InputTokens(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of POST /v1/responses/input_tokens."""

    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: Count
