"""Sends chat requests at the same time and measures their answers."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench.sse import (
    Arrival,
    StreamReading,
    count_events,
    error_text,
    read_document,
    read_stream,
)

_TIMEOUT_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The URL of a server; `notes` lists the settings that it did not take over."""

    url: str
    model: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shot:
    """One request. It is sent when the first shot's stream has had `after_events` events.

    Without `is_streamed` the answer is one JSON document. `fields` are more fields of the body.
    """

    messages: tuple[dict[str, str], ...]
    max_tokens: int
    after_events: int = 0
    is_streamed: bool = True
    fields: tuple[tuple[str, Any], ...] = ()

    def body(self, model: str, seed: int) -> dict[str, Any]:
        """The request, with only such fields as both servers know."""
        body = {
            "model": model,
            "messages": self.messages,
            "max_tokens": self.max_tokens,
            "seed": seed,
            "ignore_eos": True,
            "stream": self.is_streamed,
        }
        if self.is_streamed:
            body["stream_options"] = {"include_usage": True}
        return body | dict(self.fields)


@dataclass(frozen=True, slots=True)
class RequestResult:
    """What one client measured, in seconds; `started` and `ended` are from time.perf_counter()."""

    started: float
    ended: float
    first_text: float | None = None
    last_text: float | None = None
    largest_gap: float = 0.0
    n_prompt: int = 0
    n_cached: int = 0
    n_tokens: int = 0
    error: str | None = None

    @property
    def ttft(self) -> float | None:
        """Seconds to the first text; None without any text."""
        return None if self.first_text is None else self.first_text - self.started

    @property
    def tokens_per_second(self) -> float:
        """The rate of all tokens but the first; 0.0 with fewer than two tokens."""
        if self.first_text is None or self.last_text is None or self.n_tokens < 2:
            return 0.0
        seconds = self.last_text - self.first_text
        return (self.n_tokens - 1) / seconds if seconds > 0 else 0.0


def fire(endpoint: Endpoint, shots: Sequence[Shot]) -> list[RequestResult]:
    """Send all shots, each on a connection of its own; results in the same order."""
    return asyncio.run(_fire(endpoint, shots))


async def _fire(endpoint: Endpoint, shots: Sequence[Shot]) -> list[RequestResult]:
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        volley = _Volley(session, endpoint, shots)
        return await asyncio.gather(*(volley.send(i) for i in range(len(shots))))


class _Volley:
    """The requests of one measurement."""

    def __init__(
        self, session: aiohttp.ClientSession, endpoint: Endpoint, shots: Sequence[Shot]
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._shots = shots
        self._n_events = 0.0  # of the first shot's stream; infinite when it has ended
        self._progress = asyncio.Condition()

    async def send(self, index: int) -> RequestResult:
        """Send one shot once the first shot's stream has had `after_events` events."""
        shot = self._shots[index]
        await self._await_first_shot(shot)
        started = time.perf_counter()
        arrivals: list[Arrival] = []
        error = None
        try:
            error = await self._record(index, arrivals)
        except (aiohttp.ClientError, TimeoutError) as failure:
            error = f"{type(failure).__name__}: {failure}"
        finally:
            if index == 0:
                await self._count(float("inf"))
        ended = time.perf_counter()
        reading = read_stream(arrivals) if shot.is_streamed else read_document(arrivals)
        return _result(started, ended, reading, error)

    async def _record(self, index: int, arrivals: list[Arrival]) -> str | None:
        """Fill `arrivals`; returns the error if the response is not a stream."""
        body = self._shots[index].body(self._endpoint.model, seed=index + 1)
        async with self._session.post(self._endpoint.url, json=body) as response:
            if response.status != 200:
                return f"HTTP {response.status}: {_error_of(await response.text())}"
            async for data in response.content.iter_any():
                arrivals.append(Arrival(time.perf_counter(), data))
                if index == 0:
                    await self._count(count_events(data))
        return None

    async def _await_first_shot(self, shot: Shot) -> None:
        async with self._progress:
            await self._progress.wait_for(lambda: self._n_events >= shot.after_events)

    async def _count(self, n: float) -> None:
        self._n_events += n
        async with self._progress:
            self._progress.notify_all()


def _result(
    started: float, ended: float, reading: StreamReading, error: str | None
) -> RequestResult:
    times, usage = reading.text_seconds, reading.usage
    error = (
        error or reading.error or (None if reading.is_done else "the stream ended without [DONE]")
    )
    details = usage.get("prompt_tokens_details") or {}
    return RequestResult(
        started=started,
        ended=ended,
        first_text=times[0] if times else None,
        last_text=times[-1] if times else None,
        largest_gap=reading.largest_gap,
        n_prompt=usage.get("prompt_tokens", 0),
        n_cached=details.get("cached_tokens", 0),
        # A stream that failed contains no usage; each of its texts is about one token.
        n_tokens=usage.get("completion_tokens", len(times)),
        error=error,
    )


def _error_of(text: str) -> str:
    try:
        return error_text(json.loads(text))
    except ValueError:
        return text[:200]
