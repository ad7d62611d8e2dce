"""The types of answers for the OpenAPI description; tests compare real answers with them.

Documents may have further keys. Requests are described by the structs that parse them.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from server.protocol.load_settings import LoadSettings

UtcTime = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$",
        description="UTC, such as 2024-01-15T12:00:00Z",
    ),
]
ByteSize = Annotated[
    str, Meta(pattern=r"^\d+\.\d(MB|GB)$", description="1024-based, such as 4.5GB or 12.4MB")
]
Uptime = Annotated[str, Meta(pattern=r"^\d+d \d+h \d+m$", description="such as 2d 3h 45m")]
Ttl = Annotated[
    float, Meta(ge=-1, description="idle seconds after which the model is unloaded; -1 is never")
]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Status = Literal["unloaded", "queued", "loading", "loaded", "draining", "failed", "broken"]


class ErrorDetail(msgspec.Struct):
    """`type` and `code` are for programs, `param` names the field at fault. Some errors have
    further keys.
    """

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorDocument(msgspec.Struct):
    """The body of every error answer."""

    error: ErrorDetail


class ModelParameters(msgspec.Struct):
    """Values from the GGUF header; null where it has none."""

    context_length: Count | None
    embedding_length: Count | None
    block_count: Count | None


class ModelMetadata(msgspec.Struct):
    """Values from the GGUF header, which is read without loading the model."""

    model_type: str | None
    parameters: ModelParameters
    name: str | None
    file_type: Count | None
    parameter_count: Count


class ModelFailure(msgspec.Struct):
    """The reason why a model is `failed` or `broken`, and the last lines of its log."""

    reason: str | None
    detail: str
    log: list[str]


class AvailableModel(msgspec.Struct):
    """A model on disk. If it is `broken` with a `size` of 0, only its name is known."""

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
    """The memory of a device in bytes; null where its driver does not report it."""

    device: str
    kind: Literal["host", "gpu"]
    used_bytes: Count
    model_bytes: Count
    context_bytes: Count
    compute_bytes: Count
    free_bytes: int | None
    total_bytes: int | None


class SettingsDocument(msgspec.Struct):
    """The settings that the load requested, the defaults for all others, and the effective values,
    which include some further ones and are null while the model is not in memory.
    """

    requested: LoadSettings
    defaults: LoadSettings
    effective: dict[str, Any] | None


class EngineDocument(msgspec.Struct):
    """The model's worker process and its load; null where the worker did not answer in time."""

    pid: int
    running: Count | None
    waiting: Count | None
    kv_cells_used: Count | None
    step_seconds: float | None
    prompt_tokens_per_second: float | None
    generated_tokens_per_second: float | None
    n_ctx: Count


class Performance(msgspec.Struct):
    """`average_speed` is in tokens per second; the counters start with the server."""

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
    """The answer to a load: the model is in memory."""

    status: Literal["success"]
    message: str
    load_time: UtcTime
    memory_used: ByteSize
    settings: SettingsDocument
    memory: list[DeviceDocument]
    warnings: list[str]


class EstimatedSettings(msgspec.Struct):
    """The requested settings, and the sizes that they would result in."""

    requested: LoadSettings
    effective: dict[str, int]


class EstimateDocument(msgspec.Struct):
    """The memory that a load would need now. `evicts` lists the models that it would unload,
    `waits_for` those that it would wait for because they have active requests.
    """

    id: str
    fits: bool
    evicts: list[str]
    waits_for: list[str]
    memory_needed: ByteSize
    memory: list[DeviceDocument]
    settings: EstimatedSettings
    warnings: list[str]


class UnloadDocument(msgspec.Struct):
    """The answer to an unload: the model is no longer in memory."""

    status: Literal["success"]
    message: str
    unload_time: UtcTime


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


class HealthDocument(msgspec.Struct):
    """GET /api/v2/health."""

    status: Literal["healthy"]
    version: str
    uptime: Uptime
    last_error: str | None


class ProbedModel(msgspec.Struct):
    """A model in use or failed. `stalled` means that it has work but completes no step."""

    status: Status
    progress: Fraction | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    running: Count | UnsetType = UNSET
    waiting: Count | UnsetType = UNSET
    stalled: bool | UnsetType = UNSET


class ProbeDocument(msgspec.Struct):
    """The answer to a probe; /health has `models` by id for callers with a key."""

    status: Literal["ok", "ready"]
    models: dict[str, ProbedModel] | UnsetType = UNSET
    model: str | UnsetType = UNSET


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


class InputTokens(msgspec.Struct, frozen=True, kw_only=True):
    """The number of prompt tokens of a request."""

    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: Count
