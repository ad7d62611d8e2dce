"""TokenStream: the outputs of one request, passed from a worker process to a handler."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from msgspec.structs import replace

from llamabind.request import Usage
from server.errors import (
    ApiError,
    EngineFailedError,
    InvalidRequestError,
    UnavailableError,
    WorkerCrashedError,
    detached,
)
from server.protocol.outputs import SequenceOutput
from server.protocol.tasks import Scores, TaskResult, Vectors
from server.streams.pending_output import PendingOutput, size_of
from server.streams.wakeup import Wakeup

if TYPE_CHECKING:
    from server.protocol.loading import LoadedModel

_MAX_OUTPUTS = 32
"""More outputs than these, and than twice the answers, are joined before one is taken."""

_JOINED_BYTES = 32 << 10
"""A join of this size, by size_of(), takes no more: as JSON it can be ten times as large, and all
of it waits in the buffer of a client that does not read.
"""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Token counts of one request until now: `cached` of the prompt tokens were not computed, and
    `reasoning` of the generated ones are reasoning.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0

    @classmethod
    def of(cls, usage: Usage) -> Self:
        """Convert the engine's counts of one answer."""
        return cls(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)

    @property
    def total(self) -> int:
        """Prompt tokens, computed or cached, plus generated tokens."""
        return self.prompt + self.completion


class StreamObserver(Protocol):
    """Gets the outputs of a request besides its reader, before it. Must not block."""

    def on_output(self, output: SequenceOutput) -> None:
        """A step had this output for the request."""

    def on_failure(self, error: BaseException) -> None:
        """The stream ended with this error."""


class OutputSink(Protocol):
    """Takes outputs at once while the reader waits, which costs less than waking the reader."""

    def __call__(self, output: SequenceOutput, /) -> bool:
        """Take an output; False leaves it to the reader. Must not block or raise."""


class TokenStream:
    """The outputs of one request for `n` answers. Event loop only; one reader.

    Delivery never waits for the reader. Each output is that of one step; if a slow reader lets more
    than 32 accumulate (with over 16 answers, two for each), those of each answer are joined to a
    few, so that it can catch up. `pending` counts their bytes and pauses the request in the engine
    above a limit.

    With `may_restart`, a crash of the worker before any output does not end it: see `restart`.
    `model` is the model in the worker; `first_token_at` and `last_token_at` are times of
    time.monotonic(). All three are None at first.
    """

    def __init__(self, request_id: str, n: int = 1, wakeup: Wakeup | None = None) -> None:
        """`wakeup` is notified of every output too; several streams may share one."""
        self.request_id = request_id
        self.observer: StreamObserver | None = None
        self.model: LoadedModel | None = None
        # Parts of the request that the worker ignores; complete before the first output.
        self.warnings: tuple[str, ...] = ()
        self._is_accepted = False
        self.created_at = time.monotonic()
        self.first_token_at: float | None = None
        self.last_token_at: float | None = None
        self._n_unfinished = n
        self._latest: dict[int, SequenceOutput] = {}
        # For each answer, the number of tokens when its latest reasoning text arrived.
        self._n_reasoning: dict[int, int] = {}
        self._outputs: deque[SequenceOutput] = deque()
        self.pending = PendingOutput()
        self._sink: OutputSink | None = None
        self._error: BaseException | None = None
        self._result: TaskResult | None = None
        self.may_restart = False
        self._needs_restart = False
        self._ended = asyncio.Event()
        self._wakeup = Wakeup(wakeup)

    @property
    def usage(self) -> TokenUsage:
        """The counts until now; all answers share one prompt, which the first of them computed."""
        if self._result is not None:
            return TokenUsage(_computed_tokens(self._result))
        if not self._latest:
            return TokenUsage()
        first = self._latest.get(0) or next(iter(self._latest.values()))
        usage = first.usage
        n_generated = sum(output.usage.completion_tokens for output in self._latest.values())
        n_reasoning = sum(self._n_reasoning.values())
        return TokenUsage(usage.prompt_tokens, n_generated, usage.cached_tokens, n_reasoning)

    # -- the worker's side

    @property
    def has_ended(self) -> bool:
        """Whether nothing more can be delivered."""
        return self._ended.is_set()

    @property
    def has_failed(self) -> bool:
        """Whether it ended with an error."""
        return self._error is not None

    def accept(self, warnings: tuple[str, ...]) -> None:
        """The worker has prepared the request: it may fail, but will not be refused."""
        self.warnings = (*self.warnings, *warnings)
        self._is_accepted = True
        self._wakeup.notify()

    def deliver(self, output: SequenceOutput) -> None:
        """Add the output of one step."""
        if self.has_ended:
            return
        self._latest[output.index] = output
        if output.reasoning:
            self._n_reasoning[output.index] = output.usage.completion_tokens
        if self.observer is not None:
            self.observer.on_output(output)
        if output.usage.completion_tokens:
            self.last_token_at = time.monotonic()
            if self.first_token_at is None:
                self.first_token_at = self.last_token_at
        if output.finish_reason in ("error", "abort"):
            self.fail(_failure(output))
            return
        if output.finish_reason is not None:
            self._n_unfinished -= 1
            if self._n_unfinished == 0:
                self._ended.set()
        elif self._sink is not None and not self._outputs and self._sink(output):
            return
        self._outputs.append(output)
        self.pending.add(output)
        self._wakeup.notify()

    def settle(self, result: TaskResult) -> None:
        """End the stream of a task with the result."""
        if not self.has_ended:
            self._result = result
            self._ended.set()
            self._wakeup.notify()

    def fail(self, error: BaseException) -> None:
        """End the stream with an error, which the reader gets after the outputs before it."""
        if not self.has_ended:
            self._error = detached(error)
            if self.observer is not None:
                self.observer.on_failure(error)
            self._ended.set()
            self._wakeup.notify()

    def lose_worker(self, error: ApiError) -> None:
        """The worker has exited: end with `error`, or prepare a restart if that is allowed."""
        if isinstance(error, WorkerCrashedError) and self.may_restart and not self._latest:
            self._needs_restart = True
            self._ended.set()
        else:
            self.fail(error)

    def restart(self) -> bool:
        """Whether to submit the request again, to another worker; if so, reopens the stream."""
        if not self._needs_restart:
            return False
        self._needs_restart = self.may_restart = False
        self._ended.clear()
        return True

    @property
    def is_complete(self) -> bool:
        """Whether the request has ended without an error."""
        return self.has_ended and not self.has_failed and not self._needs_restart

    async def wait_ended(self) -> None:
        """Wait until the last output or an error was delivered, read or not."""
        await self._ended.wait()

    # -- the reader's side

    def require_result(self) -> TaskResult:
        """The result of a task that has ended. Raises the error that the stream ended with."""
        if self._error is not None:
            raise detached(self._error)
        assert self._result is not None, "the worker answers a task with its result or an error"
        return self._result

    @property
    def has_result(self) -> bool:
        """Whether it has ended with the result of a task."""
        return self._result is not None

    @property
    def is_done(self) -> bool:
        """Whether the reader has all outputs of all answers, each with its finish_reason."""
        return self.is_complete and not self._outputs

    def is_accepted(self) -> bool:
        """Whether the worker has prepared the request. Raises the error if it was refused."""
        if self._error is not None and not self._latest:
            raise detached(self._error)
        return self._is_accepted or bool(self._latest) or self.is_complete

    async def next(
        self, timeout_seconds: float | None = None, sink: OutputSink | None = None
    ) -> SequenceOutput | None:
        """The next output of any answer; None after `timeout_seconds` without one.

        While it waits, `sink` is offered each output first, except the last one of an answer; those
        that it takes do not end the wait. Raises the error that the stream ended with. Must not be
        called when `is_done`.
        """
        while (output := self.take()) is None:
            self._sink = sink
            try:
                if not await self._wakeup.wait(timeout_seconds):
                    return None
            finally:
                self._sink = None
        return output

    def take(self) -> SequenceOutput | None:
        """The next output, or None. Raises the error that the stream ended with."""
        if not self._outputs:
            if self._error is not None:
                raise detached(self._error)
            return None
        if len(self._outputs) > max(_MAX_OUTPUTS, 2 * len(self._latest)):
            self._outputs = _joined(self._outputs)
        output = self._outputs.popleft()
        # Joined outputs are smaller than their parts were.
        self.pending.take(size_of(output) if self._outputs else self.pending.n_bytes)
        return output

    def drop(self) -> None:
        """Forget all outputs: the reader has gone."""
        self._outputs.clear()
        self.pending.drop()

    async def __aiter__(self) -> AsyncIterator[SequenceOutput]:
        while not self.is_done:
            output = await self.next()
            if output is not None:
                yield output


def _computed_tokens(result: TaskResult) -> int:
    """Number of tokens the model computed for a result; 0 for most tasks."""
    match result:
        case Vectors(n_tokens=counts):
            return sum(counts)
        case Scores(n_tokens=count):
            return count
        case _:
            return 0


def _joined(outputs: Iterable[SequenceOutput]) -> deque[SequenceOutput]:
    """The outputs, those of each answer joined as far as _JOINED_BYTES allow."""
    joins: list[list[SequenceOutput]] = []
    open_joins: dict[int, list[SequenceOutput]] = {}
    n_bytes: dict[int, int] = {}
    for output in outputs:
        index, size = output.index, size_of(output)
        if index not in open_joins or n_bytes[index] + size > _JOINED_BYTES:
            n_bytes[index] = 0
            open_joins[index] = []
            joins.append(open_joins[index])
        open_joins[index].append(output)
        n_bytes[index] += size
    return deque(_join(parts) for parts in joins)


def _join(parts: list[SequenceOutput]) -> SequenceOutput:
    """The latest output, with the texts, tool calls and tokens of all."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[-1],
        text="".join(part.text for part in parts),
        reasoning="".join(part.reasoning for part in parts),
        tool_calls=tuple(piece for part in parts for piece in part.tool_calls),
        packed_logprobs=tuple(one for part in parts for one in part.packed_logprobs),
        packed_prompt_logprobs=tuple(one for part in parts for one in part.packed_prompt_logprobs),
        token_ids=tuple(token for part in parts for token in part.token_ids),
    )


def _failure(output: SequenceOutput) -> ApiError:
    if output.finish_reason == "abort":
        return UnavailableError("the request was cancelled", code="cancelled")
    text = output.error or "the engine failed on this request"
    match output.error_code:
        case "grammar_dead_end":
            param = output.error_param or "grammar"
            return InvalidRequestError(f"{param}: {text}", param=param, code=output.error_code)
        case "queue_timeout":
            return UnavailableError(text, code=output.error_code, retry_after=1)
        case _:
            return EngineFailedError(text)
