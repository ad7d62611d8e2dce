"""TokenStream: the text of one request on its way from a worker process to a handler."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from server.errors import EngineFailedError, UnavailableError
from server.protocol import SequenceOutput

_JOIN_OVER = 32


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Token counts of one request so far; `cached` of the prompt's tokens were not computed."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """New text of an answer; the last one has a `finish_reason` ("stop" or "length")."""

    text: str
    usage: TokenUsage
    finish_reason: str | None = None
    timings_ms: tuple[float, float, float] | None = None


class TokenStream:
    """One request's pieces. Loop only; one reader.

    Delivery never waits for the reader. A piece is what one step brought; when a slow client has
    let many of them pile up they are joined, so that it can catch up.
    """

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.usage = TokenUsage()
        self._outputs: deque[SequenceOutput] = deque()
        self._error: BaseException | None = None
        self._ended = asyncio.Event()
        self._wake = asyncio.Event()

    # -- the worker's side

    def deliver(self, output: SequenceOutput) -> None:
        """Add what one step brought."""
        self.usage = TokenUsage(
            output.prompt_tokens, output.completion_tokens, output.cached_tokens
        )
        match output.finish_reason:
            case "error":
                self.fail(EngineFailedError(output.error or "the engine failed on this request"))
                return
            case "abort":
                self.fail(UnavailableError("the request was cancelled", code="cancelled"))
                return
            case None:
                pass
            case _:
                self._ended.set()
        self._outputs.append(output)
        self._wake.set()

    def fail(self, error: BaseException) -> None:
        """End the stream with an error, which the reader gets after what was delivered before."""
        if not self._ended.is_set():
            self._error = error
            self._ended.set()
            self._wake.set()

    async def wait_ended(self) -> None:
        """Until the last output or an error is there, read or not."""
        await self._ended.wait()

    # -- the reader's side

    async def next(self, patience: float | None = None) -> Piece | None:
        """The next text; None when `patience` seconds brought nothing.

        Raises what the stream was failed with. The piece with a finish_reason is the last.
        """
        while not self._outputs:
            if self._error is not None:
                raise self._error
            self._wake.clear()
            try:
                async with asyncio.timeout(patience):
                    await self._wake.wait()
            except TimeoutError:
                return None
        count = 1 if len(self._outputs) <= _JOIN_OVER else len(self._outputs)
        outputs = [self._outputs.popleft() for _ in range(count)]
        last = outputs[-1]
        return Piece(
            "".join(output.text for output in outputs),
            TokenUsage(last.prompt_tokens, last.completion_tokens, last.cached_tokens),
            last.finish_reason,
            last.timings_ms,
        )

    async def __aiter__(self) -> AsyncIterator[Piece]:
        finished = False
        while not finished:
            piece = await self.next()
            if piece is not None:
                yield piece
                finished = piece.finish_reason is not None
