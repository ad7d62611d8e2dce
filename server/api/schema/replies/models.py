"""The models of /api/v2: what is on disk and in memory, loads, estimates and unloads."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from server.api.schema.replies.units import ByteSize, Count, Fraction, Status, Ttl, UtcTime
from server.protocol.load_settings import LoadSettings


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
    file_type_name: str | None
    parameter_count: Count


class ModelFailure(msgspec.Struct):
    """The reason why a model is `failed` or `broken`, and the last lines of its log."""

    reason: str | None
    detail: str
    log: list[str]


class AvailableModel(msgspec.Struct):
    """A model on disk. If it is `broken` with a `size` of 0, only its name is known. `can_remove`:
    it is in the hub's cache, so that DELETE removes its files.
    """

    id: str
    aliases: list[str]
    size: Count
    modified: UtcTime
    status: Status
    metadata: ModelMetadata
    capabilities: list[str]
    can_remove: bool
    failure: ModelFailure | UnsetType = UNSET


class LoadedSummary(msgspec.Struct):
    """A model in memory; `n_ctx` is in tokens."""

    status: Status
    load_time: UtcTime
    n_ctx: Count
    memory_bytes: Count
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


class ShortDevice(msgspec.Struct):
    """A device that is too small, "host" for host memory: bytes needed, free now, and free after
    unloading all models that are not pinned. "models" counts models, limited by --models-max.
    """

    name: str
    needed_bytes: Count
    free_bytes: Count
    available_bytes: Count


class EstimateDocument(msgspec.Struct):
    """The memory that a load would need now. `evicts` lists the models that it would unload,
    `waits_for` those that it would wait for because they have active requests, `devices` the
    devices that would be too small even after unloading all models that are not pinned.
    """

    id: str
    fits: bool
    evicts: list[str]
    waits_for: list[str]
    devices: list[ShortDevice]
    memory_needed: ByteSize
    memory: list[DeviceDocument]
    settings: EstimatedSettings
    warnings: list[str]


class UnloadDocument(msgspec.Struct):
    """The answer to an unload: the model is no longer in memory."""

    status: Literal["success"]
    message: str
    unload_time: UtcTime
