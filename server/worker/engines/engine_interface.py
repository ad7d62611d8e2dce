"""The interface of the worker's engine: llamabind's, or a scripted one in tests."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from llamabind import GenerationRequest, RequestOutput
from llamabind.generation.prompt_requests import PromptRequests
from server.protocol.job import Job
from server.protocol.loading import Estimate, Estimated, Load, LoadedModel
from server.protocol.messages import Stats
from server.protocol.tasks import Task, TaskResult

OnStep: TypeAlias = Callable[[Sequence[RequestOutput]], None]
OnFailure: TypeAlias = Callable[[BaseException], None]


@dataclass(frozen=True, slots=True)
class EngineEvents:
    """Callbacks of an engine, called on its threads; none of them blocks."""

    on_progress: Callable[[float], None]
    on_step: OnStep
    on_failure: OnFailure
    on_change: Callable[[LoadedModel], None] = lambda _: None


class WorkerEngine(Protocol):
    """A loaded model that answers requests on a separate thread. Methods: any thread."""

    def describe(self) -> LoadedModel:
        """The effective settings and sizes."""

    def prepare(self, job: Job) -> PromptRequests:
        """Render and tokenise. Raises LlamaError."""

    def piece(self, token: int, *, special: bool = True) -> bytes:
        """The bytes of a token; special ones as they are written, or empty without `special`."""

    def submit(self, request: GenerationRequest) -> None:
        """Start a request; its outputs come through `on_step`. Raises LlamaError."""

    def perform(self, task: Task) -> TaskResult | Future[TaskResult]:
        """Perform a task; a future if it is computed on the engine's thread. Raises LlamaError."""

    def cancel(self, request_id: str) -> None:
        """End a request at the next step."""

    def pause(self, request_id: str) -> None:
        """Compute nothing for a request from the next step on, until `resume`."""

    def resume(self, request_id: str) -> None:
        """Continue a paused request."""

    def stats(self) -> Stats:
        """A snapshot."""

    def keep_prefixes(self, seconds: float) -> None:
        """Write the prefixes that are in no file yet, with a cache_dir, for about `seconds`."""

    def close(self) -> None:
        """Cancel all requests, deliver the last outputs, end the thread and free the model."""


class EngineLoader(Protocol):
    """Loads a model."""

    def __call__(self, load: Load, events: EngineEvents) -> WorkerEngine:
        """Returns when the engine is ready. Raises LlamaError."""


class EstimateMaker(Protocol):
    """Estimates the memory of a load."""

    def __call__(self, message: Estimate) -> Estimated:
        """The estimate, without loading weights. Raises LlamaError."""
