"""The messages of a load: its files and memory limits, its progress, its result or its failure."""

import math
from typing import Any, Literal, Self

import msgspec

from server.protocol.load_settings import LoadSettings


class DeviceMemory(msgspec.Struct, frozen=True):
    """Memory of a model on one device, and of the device, in bytes; None where unknown.

    `mapped_bytes` of the weights are pages of a mapped file; `free_bytes` includes them.
    """

    name: str
    kind: Literal["host", "gpu"]
    model_bytes: int
    context_bytes: int
    compute_bytes: int
    free_bytes: int | None
    total_bytes: int | None
    mapped_bytes: int = 0

    @property
    def used_bytes(self) -> int:
        """Weights, KV cache and buffers together."""
        return self.model_bytes + self.context_bytes + self.compute_bytes

    @classmethod
    def on_host(cls, model_bytes: int) -> Self:
        """All bytes as host memory, where the distribution is unknown."""
        return cls("CPU", "host", model_bytes, 0, 0, None, None)


class HostBudget(msgspec.Struct, frozen=True):
    """Host memory of a load: at most `limit` bytes if set; `credit` bytes more than are free now.

    The load may replace a model, whose memory it gets. `credit` is negative if the free memory
    includes some that other models use or have reserved.
    """

    limit: int | None = None
    credit: int = 0

    def available(self, free: int | None) -> float:
        """Bytes that the load may take, where `free` are free now."""
        bounds = [math.inf if free is None else free + self.credit]
        if self.limit is not None:
            bounds.append(self.limit)
        return min(bounds)


class LoadFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The files that a load's settings name, as absolute paths inside the models directories.

    `lora` are (path, scale) pairs.
    """

    lora: tuple[tuple[str, float], ...] = ()
    draft_model: str | None = None
    mmproj: str | None = None


class Devices(msgspec.Struct, frozen=True):
    """`budgets`: bytes that models may use of each device, by its name; `rpc`: addresses of the RPC
    servers whose devices they may use.
    """

    budgets: dict[str, int] = {}
    rpc: tuple[str, ...] = ()


class PrefixFiles(msgspec.Struct, frozen=True):
    """`folder`: the directory for prefixes of --cache-dir; `max_mib`: the most MiB of its files."""

    folder: str
    max_mib: int


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Load the model. Sent once, after any Estimates of the same file. Prefixes are kept in
    `prefix_files`, if given.

    `estimated` is the estimate with these settings, if the server has one: native code then need
    not make it again.
    """

    path: str
    settings: LoadSettings
    files: LoadFiles = LoadFiles()
    devices: Devices = Devices()
    host_budget: HostBudget = HostBudget()
    estimated: "Estimated | None" = None
    prefix_files: PrefixFiles | None = None


class Estimate(msgspec.Struct, frozen=True, tag="estimate"):
    """Estimate a load; the reply is Estimated, or LoadFailed and an exit."""

    path: str
    settings: LoadSettings
    files: LoadFiles = LoadFiles()
    devices: Devices = Devices()
    host_budget: HostBudget = HostBudget()


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """The fraction of the model that is loaded, 0.0 to 1.0."""

    fraction: float


class LoadedModel(msgspec.Struct, frozen=True, tag="loaded", kw_only=True):
    """The model is ready; these are its effective settings, which may differ from the requested.
    It is sent again when its memory changes, as by a second context for embeddings.

    `n_ctx` is the most tokens one request may use; `memory_bytes` is weights, KV cache and buffers,
    on `devices`; `effective` has every setting of a load by its name; `fingerprint` is the
    llama.cpp build; `template_capabilities` are llama.cpp's for the chat template, empty without
    one.
    """

    n_ctx: int
    n_batch: int
    n_parallel: int
    threads: int
    memory_bytes: int
    devices: tuple[DeviceMemory, ...] = ()
    effective: dict[str, Any] = {}
    description: str = ""
    fingerprint: str = ""
    bos_token: str = ""
    eos_token: str = ""
    template_capabilities: dict[str, bool] = {}
    warnings: tuple[str, ...] = ()


class Estimated(msgspec.Struct, frozen=True, tag="estimated", kw_only=True):
    """The memory of the load by device, and its effective settings.

    `is_limited`: the context is smaller than it would be with more free memory.
    """

    devices: tuple[DeviceMemory, ...]
    n_ctx: int
    n_gpu_layers: int
    warnings: tuple[str, ...] = ()
    is_limited: bool = False


class LoadFailed(msgspec.Struct, frozen=True, tag="load_failed"):
    """The model was not loaded; `reason` as in llamabind.errors.ModelLoadError.

    `param` names the wrong setting, if there is one.
    """

    reason: str
    detail: str
    param: str | None = None
