"""TokenStream: the answers to one request on their way from a worker process to a handler."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Protocol, Self

from msgspec.structs import replace

from llamabind.request import Usage
from server.errors import (
    ApiError,
    EngineFailedError,
    InvalidRequestError,
    UnavailableError,
    WorkerCrashedError,
)
from server.protocol.messages import LoadedModel, SequenceOutput
from server.protocol.tasks import Scores, TaskResult, Vectors
from server.streams.wakeup import Wakeup

_JOIN_OVER = 32


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Token counts of one request so far; `cached` of the prompt's tokens were not computed, and
    `reasoning` of the generated ones were thoughts.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0

    @classmethod
    def of(cls, usage: Usage) -> Self:
        """The engine's counts of one answer."""
        return cls(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)

    @property
    def total(self) -> int:
        """Of the prompt, computed or not, and generated."""
        return self.prompt + self.completion


class StreamObserver(Protocol):
    """Who wants to know how a request goes, besides its reader. Must not wait."""

    def on_output(self, output: SequenceOutput) -> None:
        """A step brought this."""

    def on_failure(self, error: BaseException) -> None:
        """The stream ended early."""


class TokenStream:
    """What comes of one request that asked for `n` answers. Loop only; one reader.

    Delivery never waits for the reader. An output is what one step brought; when a slow client has
    let many of them pile up they are joined, so that it can catch up.

    With `may_restart`, a crash of the worker before any output is no failure: see `restart`.
    `model` is the one that works on it, `first_token_at` and `last_token_at` are moments of
    time.monotonic(); each is None before there is one.
    """

    def __init__(self, request_id: str, n: int = 1, wakeup: Wakeup | None = None) -> None:
        """`bell` rings too whenever there is something to read; several streams may share one."""
        self.request_id = request_id
        self.observer: StreamObserver | None = None
        self.model: LoadedModel | None = None
        # What of the request the worker does not do; known before the first output.
        self.warnings: tuple[str, ...] = ()
        self.created_at = time.monotonic()
        self.first_token_at: float | None = None
        self.last_token_at: float | None = None
        self._n_unfinished = n
        self._latest: dict[int, SequenceOutput] = {}
        # Of each answer, how many tokens there were when the latest thought came.
        self._n_reasoning: dict[int, int] = {}
        self._outputs: deque[SequenceOutput] = deque()
        self._error: BaseException | None = None
        self._result: TaskResult | None = None
        self.may_restart = False
        self._is_lost = False
        self._ended = asyncio.Event()
        self._wakeup = Wakeup(wakeup)

    @property
    def usage(self) -> TokenUsage:
        """The counts so far; all answers share one prompt, which the first of them computed."""
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

    def deliver(self, output: SequenceOutput) -> None:
        """Add what one step brought."""
        if self.has_ended:
            return
        self._latest[output.index] = output
        if output.reasoning:
            self._n_reasoning[output.index] = output.usage.completion_tokens
        if self.observer is not None:
            self.observer.on_output(output)
        if output.usage.completion_tokens:
            self.last_token_at = time.monotonic()
            self.first_token_at = self.first_token_at or self.last_token_at
        if output.finish_reason in ("error", "abort"):
            self.fail(_failure(output))
            return
        if output.finish_reason is not None:
            self._n_unfinished -= 1
            if self._n_unfinished == 0:
                self._ended.set()
        self._outputs.append(output)
        self._wakeup.ring()

    def settle(self, result: TaskResult) -> None:
        """End the stream of a task with its result."""
        if not self.has_ended:
            self._result = result
            self._ended.set()
            self._wakeup.ring()

    def fail(self, error: BaseException) -> None:
        """End the stream with an error, which the reader gets after what was delivered before."""
        if not self.has_ended:
            self._error = error
            if self.observer is not None:
                self.observer.on_failure(error)
            self._ended.set()
            self._wakeup.ring()

    def lose_worker(self, error: ApiError) -> None:
        """The worker is gone. An end with `error`, unless it is worth to try another one."""
        if isinstance(error, WorkerCrashedError) and self.may_restart and not self._latest:
            self._is_lost = True
            self._ended.set()
        else:
            self.fail(error)

    def restart(self) -> bool:
        """Whether the request is to be submitted again, to another worker; the reader waits on."""
        if not self._is_lost:
            return False
        self._is_lost = self.may_restart = False
        self._ended.clear()
        return True

    @property
    def is_complete(self) -> bool:
        """Whether the answer has ended as it should."""
        return self.has_ended and not self.has_failed and not self._is_lost

    async def wait_ended(self) -> None:
        """Until the last output or an error is there, read or not."""
        await self._ended.wait()

    # -- the reader's side

    def require_result(self) -> TaskResult:
        """What a task that has ended came to. Raises what the stream was failed with."""
        if self._error is not None:
            raise self._error
        assert self._result is not None, "the worker answers a task with its result or an error"
        return self._result

    @property
    def has_result(self) -> bool:
        """Whether it was a task's, which has ended."""
        return self._result is not None

    @property
    def is_done(self) -> bool:
        """Whether the reader has got everything: all answers, each with its finish_reason."""
        return self.is_complete and not self._outputs

    async def next(self, patience: float | None = None) -> SequenceOutput | None:
        """What is new of one answer; None when `patience` seconds brought nothing.

        Raises what the stream was failed with. Not to be called when `is_done`.
        """
        while (output := self.take()) is None:
            if not await self._wakeup.wait(patience):
                return None
        return output

    def take(self) -> SequenceOutput | None:
        """What is new of one answer, if anything is. Raises what the stream was failed with."""
        if not self._outputs:
            if self._error is not None:
                raise self._error
            return None
        if len(self._outputs) > _JOIN_OVER:
            self._outputs = _joined(self._outputs)
        return self._outputs.popleft()

    async def __aiter__(self) -> AsyncIterator[SequenceOutput]:
        while not self.is_done:
            output = await self.next()
            if output is not None:
                yield output


def _computed_tokens(result: TaskResult) -> int:
    """How many tokens the model computed for a result; most need none."""
    match result:
        case Vectors(n_tokens=counts):
            return sum(counts)
        case Scores(n_tokens=count):
            return count
        case _:
            return 0


def _joined(outputs: Iterable[SequenceOutput]) -> deque[SequenceOutput]:
    """One output for each answer, all that is new of it."""
    by_index: dict[int, list[SequenceOutput]] = {}
    for output in outputs:
        by_index.setdefault(output.index, []).append(output)
    return deque(_join(parts) for parts in by_index.values())


def _join(parts: list[SequenceOutput]) -> SequenceOutput:
    """The latest output with what is new of all."""
    return replace(
        parts[-1],
        text="".join(part.text for part in parts),
        reasoning="".join(part.reasoning for part in parts),
        tool_calls=tuple(piece for part in parts for piece in part.tool_calls),
        logprobs=tuple(entry for part in parts for entry in part.logprobs),
        prompt_logprobs=tuple(entry for part in parts for entry in part.prompt_logprobs),
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
