"""What the server and a worker process say to each other, one msgpack message per frame.

The server speaks first with Load, then any number of Submit, Ask, Cancel and GetStats. (Or with
Estimate, which has one answer and ends the worker.) The worker greets
with Hello, reports Progress, then Loaded or LoadFailed; afterwards Refused for a Submit that cannot
start, Warned before the first output of one that is not done in every word, Answered or Refused
once per Ask, and a Step after each engine step with what is new of all answers. Closing the socket
is the end of everything: the worker leaves at once, whatever it is doing. That is also how a load
is cancelled, and why no worker outlives its server.
"""

from enum import StrEnum
from typing import Any, Literal, Self, TypeAlias

import msgspec

from llamabind.request import Timings, Usage
from server.protocol.job import Job
from server.protocol.load_settings import LoadSettings
from server.protocol.tasks import Task, TaskResult

PROTOCOL_VERSION = 5


class RefusalKind(StrEnum):
    """Why a Submit was not accepted."""

    INVALID = "invalid"
    """The request is wrong (template, grammar, a value out of range)."""
    CONTEXT_OVERFLOW = "context_overflow"
    """The prompt can never fit; both numbers are given."""
    BUSY = "busy"
    """Not now; trying again later can help."""
    FAILED = "failed"
    """The engine cannot take requests any more, or a bug of ours."""


class DeviceMemory(msgspec.Struct, frozen=True):
    """What a model takes on one device, in bytes, and how much that device has."""

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
        """So much in the host's memory, where nothing finer is known."""
        return cls("CPU", "host", model_bytes, 0, 0, None, None)


# ------------------------------------------------------------------------- server to worker


class LoadFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The files that a load's settings name, as absolute paths inside the models directories.

    `lora` are (path, scale) pairs.
    """

    lora: tuple[tuple[str, float], ...] = ()
    draft_model: str | None = None
    mmproj: str | None = None


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Load the model. The first message, sent once.

    `device_budgets` are the bytes that models may take of a device, by its name.
    """

    path: str
    settings: LoadSettings
    files: LoadFiles = LoadFiles()
    device_budgets: dict[str, int] = {}


class Estimate(msgspec.Struct, frozen=True, tag="estimate"):
    """Say what a load would take, instead of loading: Estimated or LoadFailed, then the end."""

    path: str
    settings: LoadSettings
    files: LoadFiles = LoadFiles()
    device_budgets: dict[str, int] = {}


class Submit(msgspec.Struct, frozen=True, tag="submit"):
    """Render, tokenise and answer."""

    request_id: str
    job: Job


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Do a task; its result comes in one piece."""

    request_id: str
    task: Task


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Nobody waits for this request any more."""

    request_id: str


class GetStats(msgspec.Struct, frozen=True, tag="get_stats"):
    """Ask for one Stats."""


ToWorker: TypeAlias = Load | Estimate | Submit | Ask | Cancel | GetStats


# ------------------------------------------------------------------------- worker to server


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The worker is up."""

    protocol_version: int
    pid: int


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """How much of the model is loaded, 0.0 to 1.0."""

    fraction: float


class LoadedModel(msgspec.Struct, frozen=True, tag="loaded", kw_only=True):
    """The model is ready. What was asked for is one thing, these are the effective values.

    `n_ctx` is the most one request may use; `memory_bytes` is weights, KV cache and buffers,
    `devices` says where they are; `effective` has every setting of a load by its name;
    `fingerprint` names the llama.cpp build; `template_capabilities` is what llama.cpp found out
    about the chat template, empty without one.
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
    """What the load would take, by device, and what would be effective."""

    devices: tuple[DeviceMemory, ...]
    n_ctx: int
    n_gpu_layers: int
    warnings: tuple[str, ...] = ()


class LoadFailed(msgspec.Struct, frozen=True, tag="load_failed"):
    """The model was not loaded; `reason` as in llamabind.errors.ModelLoadError.

    `param` names the setting, where one is wrong.
    """

    reason: str
    detail: str
    param: str | None = None


class Warned(msgspec.Struct, frozen=True, tag="warned"):
    """What of a request is not done, such as keywords of a schema; before its first output."""

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
    """What came of an Ask."""

    request_id: str
    result: TaskResult


class ToolCallPiece(msgspec.Struct, frozen=True, array_like=True):
    """News of the tool call `index`: id and name the first time, then pieces of the arguments."""

    index: int
    id: str | None
    name: str | None
    arguments: str


class LogprobEntry(msgspec.Struct, frozen=True, array_like=True):
    """A generated token, its bytes and log-probability, and the same of the likeliest ones.

    `is_content` unless it belongs to thoughts, calls of tools, or what marks them.
    """

    token: int
    piece: bytes
    logprob: float
    top: tuple[tuple[int, bytes, float], ...] = ()
    is_content: bool = True


class PromptProgress(msgspec.Struct, frozen=True, array_like=True):
    """How far a prompt is: of `total` tokens `processed` are there, `cached` of them reused."""

    total: int
    cached: int
    processed: int
    time_ms: float


class WireUsage(Usage, frozen=True, array_like=True):
    """llamabind's token counts, of one answer; an array, since there are many of them."""


class WireTimings(Timings, frozen=True, array_like=True):
    """llamabind's times in milliseconds, of one answer."""


class SequenceOutput(msgspec.Struct, frozen=True, array_like=True):
    """What was added to the answer `index` of a request; an array, since there are many of them.

    `text` is content, `reasoning` and `tool_calls` are taken out of it. `finish_reason` is one of
    llamabind.request.FinishReason, or "tool_calls" where the model has ended its answer by calling
    tools; `stop_string` is what ended it, if one of the request's own did. With the last output
    come `timings`, and `seq_id`, whose memory it leaves behind.
    `prompt_logprobs` begin with the prompt's first token, which nothing predicts: its number is 0.
    `error_code` is for programs, `error` for people; `error_param` is the field at fault, if any.
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


class Step(msgspec.Struct, frozen=True, tag="step"):
    """What one engine step added to all answers."""

    outputs: list[SequenceOutput]


class Stats(msgspec.Struct, frozen=True, tag="stats", kw_only=True):
    """A snapshot of the engine: the answer to GetStats, or with `is_report` sent unasked.

    `sequence_steps_total` is the sum over all steps of the sequences computed in them. The rates
    are averages over the latest steps (llamabind.engine.step_meter.StepRates). Drafts are
    those of speculative decoding; `accepted_per_position` counts for each position of a draft.
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
    """The engine failed and the worker is leaving; why, in one sentence."""

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
