"""The messages between the server and a worker process, one msgpack message per frame.

The server sends one Load, then any number of Submit, Ask, Cancel and GetStats; or one Estimate,
which has one reply and ends the worker. The worker sends Hello, then Progress, then LoadedModel or
LoadFailed. After that it sends, for a Submit, Refused if it cannot start, or Warned before the
first output if parts of it are ignored; for an Ask, one Answered or Refused; and after each engine
step one Step with the new outputs of all requests. When the server closes the socket, the worker
exits at once. That is how a load is cancelled, and why no worker outlives its server.
"""

import math
from enum import StrEnum
from typing import Any, Literal, Self, TypeAlias

import msgspec

from llamabind.request import Timings, Usage
from server.protocol.job import Job
from server.protocol.load_settings import LoadSettings
from server.protocol.tasks import Task, TaskResult

PROTOCOL_VERSION = 6


class RefusalKind(StrEnum):
    """Why a Submit was not accepted."""

    INVALID = "invalid"
    """The request is invalid (template, grammar, a value out of range)."""
    CONTEXT_OVERFLOW = "context_overflow"
    """The prompt can never fit; both numbers are given."""
    BUSY = "busy"
    """Not possible now; a later retry may succeed."""
    UNSUPPORTED = "unsupported"
    """A library is missing on the server's machine."""
    NO_MEMORY = "no_memory"
    """The worker could not allocate host memory."""
    DISK_FULL = "disk_full"
    """The file system of a file to write has no space left."""
    FILE_NOT_WRITTEN = "file_not_written"
    """A file cannot be written for another reason."""
    FAILED = "failed"
    """The engine has stopped, or the worker has a bug."""


class DeviceMemory(msgspec.Struct, frozen=True):
    """Memory of a model on one device, and of the device, in bytes; None where unknown."""

    name: str
    kind: Literal["host", "gpu"]
    model_bytes: int
    context_bytes: int
    compute_bytes: int
    free_bytes: int | None
    total_bytes: int | None

    @property
    def used_bytes(self) -> int:
        """Weights, KV cache and buffers together."""
        return self.model_bytes + self.context_bytes + self.compute_bytes

    @classmethod
    def on_host(cls, model_bytes: int) -> Self:
        """All bytes as host memory, where the distribution is unknown."""
        return cls("CPU", "host", model_bytes, 0, 0, None, None)


# ------------------------------------------------------------------------- server to worker


class HostRoom(msgspec.Struct, frozen=True):
    """Host memory of a load: at most `limit` bytes if set; `credit` bytes more than are free now,
    because the load replaces the model that holds them.
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


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Load the model. The first message, sent once.

    `device_budgets`: bytes that models may use of each device, by its name.
    """

    path: str
    settings: LoadSettings
    files: LoadFiles = LoadFiles()
    device_budgets: dict[str, int] = {}
    room: HostRoom = HostRoom()


class Estimate(msgspec.Struct, frozen=True, tag="estimate"):
    """Estimate a load instead of loading; the reply is Estimated or LoadFailed, then an exit."""

    path: str
    settings: LoadSettings
    files: LoadFiles = LoadFiles()
    device_budgets: dict[str, int] = {}
    room: HostRoom = HostRoom()


class Submit(msgspec.Struct, frozen=True, tag="submit"):
    """Generate the answers to a job."""

    request_id: str
    job: Job


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Perform a task, with one Answered or Refused as the reply."""

    request_id: str
    task: Task


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Stop working on a request."""

    request_id: str


class GetStats(msgspec.Struct, frozen=True, tag="get_stats"):
    """Request one Stats."""


ToWorker: TypeAlias = Load | Estimate | Submit | Ask | Cancel | GetStats


# ------------------------------------------------------------------------- worker to server


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The worker process has started."""

    protocol_version: int
    pid: int


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """The fraction of the model that is loaded, 0.0 to 1.0."""

    fraction: float


class LoadedModel(msgspec.Struct, frozen=True, tag="loaded", kw_only=True):
    """The model is ready; these are its effective settings, which may differ from the requested.

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


class Warned(msgspec.Struct, frozen=True, tag="warned"):
    """Parts of a request that are ignored, such as schema keywords; before its first output."""

    request_id: str
    warnings: tuple[str, ...]


class Refused(msgspec.Struct, frozen=True, tag="refused", kw_only=True):
    """The request never started."""

    request_id: str
    kind: RefusalKind
    message: str
    param: str | None = None
    n_prompt_tokens: int = 0
    n_ctx: int = 0


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """The result of an Ask."""

    request_id: str
    result: TaskResult


class ToolCallPiece(msgspec.Struct, frozen=True, array_like=True):
    """A piece of the tool call `index`: first its id and name, then parts of its arguments."""

    index: int
    id: str | None
    name: str | None
    arguments: str


class LogprobEntry(msgspec.Struct, frozen=True, array_like=True):
    """A generated token, its bytes and log-probability, and the same for the likeliest tokens.

    `is_content` is False for tokens of reasoning, of tool calls and of their markup; `is_final` is
    True for probabilities after the samplers.
    """

    token: int
    piece: bytes
    logprob: float
    top: tuple[tuple[int, bytes, float], ...] = ()
    is_content: bool = True
    is_final: bool = False


class PromptProgress(msgspec.Struct, frozen=True, array_like=True):
    """Prefill of a prompt: `processed` of `total` tokens are done, `cached` of them reused."""

    total: int
    cached: int
    processed: int
    time_ms: float


class WireUsage(Usage, frozen=True, array_like=True):
    """llamabind's token counts of one answer, encoded as an array to keep frames small."""


class WireTimings(Timings, frozen=True, array_like=True):
    """llamabind's times of one answer, in milliseconds."""


class EndDetails(msgspec.Struct, frozen=True, array_like=True):
    """What the last output of an answer adds: `truncated` if the context was too small for prompt
    and answer, and `prompt`, its tokens as text with special ones written out, if requested.
    """

    truncated: bool = False
    prompt: str | None = None


class SequenceOutput(msgspec.Struct, frozen=True, array_like=True):
    """New output of the answer `index` of a request, encoded as an array to keep frames small.

    `text` is content, without `reasoning` and `tool_calls`. `finish_reason` is a value of
    llamabind.request.FinishReason, or "tool_calls" if the model ended its answer with tool calls;
    `stop_string` is the request's stop string that ended it, if one did. The last output has
    `timings` and `seq_id`, the sequence id in whose KV cache the answer remains. `prompt_logprobs`
    begin with the prompt's first token, which has no prediction: its log-probability is 0.
    `details` are in the last output, if there are any.
    `error_code` is machine-readable, `error` a sentence, `error_param` the field at fault, if any.
    """

    request_id: str
    index: int
    text: str
    usage: WireUsage
    finish_reason: str | None = None
    timings: WireTimings | None = None
    error: str | None = None
    error_code: str | None = None
    reasoning: str = ""
    tool_calls: tuple[ToolCallPiece, ...] = ()
    logprobs: tuple[LogprobEntry, ...] = ()
    prompt_logprobs: tuple[LogprobEntry, ...] = ()
    token_ids: tuple[int, ...] = ()
    stop_string: str | None = None
    progress: PromptProgress | None = None
    seq_id: int | None = None
    error_param: str | None = None
    details: EndDetails | None = None


class Step(msgspec.Struct, frozen=True, tag="step"):
    """The new outputs of all answers after one engine step."""

    outputs: list[SequenceOutput]


class Stats(msgspec.Struct, frozen=True, tag="stats", kw_only=True):
    """A snapshot of the engine: the reply to GetStats, or with `is_report` a periodic report.

    `sequence_steps_total` is the sum over all steps of the number of sequences in the step. The
    rates are averages over the latest steps (llamabind.engine.step_meter.StepRates). Drafts are
    those of speculative decoding; `accepted_per_position` counts each position in a draft.
    """

    running: int
    waiting: int
    kv_cells_used: int
    n_ctx: int
    prompt_tokens_total: int
    generated_tokens_total: int
    kv_cells_total: int = 0
    cached_tokens_total: int = 0
    steps_total: int = 0
    sequence_steps_total: int = 0
    longest_sequence: int = 0
    cache_ram_bytes: int = 0
    drafts_total: int = 0
    draft_tokens_total: int = 0
    accepted_tokens_total: int = 0
    accepted_per_position: tuple[int, ...] = ()
    step_seconds: float = 0.0
    prompt_tokens_per_second: float = 0.0
    generated_tokens_per_second: float = 0.0
    resident_bytes: int = 0
    is_report: bool = False


class EngineDown(msgspec.Struct, frozen=True, tag="engine_down"):
    """The engine failed and the worker is about to exit; `message` is the reason."""

    message: str


FromEstimator: TypeAlias = Hello | Estimated | LoadFailed
FromWorker: TypeAlias = (
    Hello
    | Progress
    | LoadedModel
    | LoadFailed
    | Answered
    | Refused
    | Warned
    | Step
    | Stats
    | EngineDown
)
