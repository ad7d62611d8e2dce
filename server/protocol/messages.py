"""The messages between the server and a worker process, one msgpack message per frame.

The server may send Estimates of one model file, each of which has one reply; one that fails ends
the worker. Then it sends one Load of that file, then any number of Submit, Ask, Cancel, Pause,
Resume and GetStats, and at last perhaps a Retire, after which the worker exits by itself. The
worker sends Hello first. It answers the Load with Progress, then LoadedModel or LoadFailed; a
Submit that cannot start with Refused, and one of which parts are ignored with Prepared before its
first output; an Ask with one Answered or Refused. After each engine step it sends one Step with the
new outputs of all requests. When the server closes the socket, the worker exits at once. So closing
it cancels a load, and no worker outlives its server.
"""

from enum import StrEnum
from typing import TypeAlias

import msgspec

from server.protocol.job import Job
from server.protocol.loading import Estimate, Estimated, Load, LoadedModel, LoadFailed, Progress
from server.protocol.outputs import SequenceOutput
from server.protocol.tasks import Task, TaskResult

PROTOCOL_VERSION = 8


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


# ------------------------------------------------------------------------- server to worker


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


class Pause(msgspec.Struct, frozen=True, tag="pause"):
    """Compute nothing for a request until Resume: its client reads too slowly. May be repeated."""

    request_id: str


class Resume(msgspec.Struct, frozen=True, tag="resume"):
    """Continue a paused request."""

    request_id: str


class Retire(msgspec.Struct, frozen=True, tag="retire"):
    """Write the prefixes that are in no file yet (`--cache-dir`), for about `seconds`, and exit."""

    seconds: float


class GetStats(msgspec.Struct, frozen=True, tag="get_stats"):
    """Request one Stats."""


ToWorker: TypeAlias = Load | Estimate | Submit | Ask | Cancel | Pause | Resume | GetStats | Retire


# ------------------------------------------------------------------------- worker to server


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The worker process has started."""

    protocol_version: int
    pid: int


class Prepared(msgspec.Struct, frozen=True, tag="prepared"):
    """A request was rendered and tokenised, so it will not be refused; before its first output.

    `warnings` name parts of the request that are ignored, such as schema keywords.
    """

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


class Step(msgspec.Struct, frozen=True, tag="step"):
    """The new outputs of all answers after one engine step."""

    outputs: list[SequenceOutput]


class Stats(msgspec.Struct, frozen=True, tag="stats", kw_only=True):
    """A snapshot of the engine: the reply to GetStats, or with `is_report` a periodic report.

    `sequence_steps_total` is the sum over all steps of the number of sequences in the step. The
    rates are averages over the latest steps (llamabind.engine.step_meter.StepRates). Drafts are
    those of speculative decoding; `accepted_per_position` counts each position in a draft.
    `cache_disk_bytes` are the files of this model and these settings in --cache-dir.
    `kv_cells_running` are those of running sequences, without retained prefixes.
    `paused` sequences wait for their clients to read. `waiting` includes requests whose prompt is
    not rendered yet; `intake_stalled_seconds` is the time in which no request was prepared although
    some wait for it, `intake_stuck` the number of threads that a prompt keeps beyond its deadline.
    """

    running: int
    waiting: int
    kv_cells_used: int
    n_ctx: int
    prompt_tokens_total: int
    generated_tokens_total: int
    kv_cells_total: int = 0
    kv_cells_running: int = 0
    cached_tokens_total: int = 0
    steps_total: int = 0
    sequence_steps_total: int = 0
    longest_sequence: int = 0
    cache_ram_bytes: int = 0
    cache_disk_bytes: int = 0
    cache_disk_reads_total: int = 0
    cache_disk_writes_total: int = 0
    drafts_total: int = 0
    draft_tokens_total: int = 0
    accepted_tokens_total: int = 0
    accepted_per_position: tuple[int, ...] = ()
    step_seconds: float = 0.0
    prompt_tokens_per_second: float = 0.0
    generated_tokens_per_second: float = 0.0
    resident_bytes: int = 0
    paused: int = 0
    intake_stalled_seconds: float = 0.0
    intake_stuck: int = 0
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
    | Prepared
    | Step
    | Stats
    | EngineDown
)
