"""Reads a recorded stream of chat completion chunks.

Streams are recorded as bytes and read afterwards, because a client that parses JSON while the
servers compute takes CPU from them.
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

_EVENT_END = b"\n\n"


@dataclass(frozen=True, slots=True)
class Arrival:
    """Bytes from the network and the time at which they arrived."""

    seconds: float
    data: bytes


@dataclass(slots=True)
class StreamReading:
    """The content of a stream: arrival times of its text, token counts at its end, or its error."""

    text_seconds: list[float] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    finish_reason: str | None = None
    error: str | None = None
    is_done: bool = False

    @property
    def largest_gap(self) -> float:
        """The longest time between two texts in seconds; 0.0 with fewer than two texts."""
        times = self.text_seconds
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)


def read_stream(arrivals: Iterable[Arrival]) -> StreamReading:
    """Read a whole stream; `is_done` stays False if it ended without [DONE]."""
    reading = StreamReading()
    for seconds, data in _events(arrivals):
        if data == "[DONE]":
            reading.is_done = True
        else:
            _read_document(json.loads(data), seconds, reading)
    return reading


def read_document(arrivals: Iterable[Arrival]) -> StreamReading:
    """Read an answer that is one JSON document; it has no arrival times of texts."""
    reading = StreamReading()
    data = b"".join(arrival.data for arrival in arrivals)
    if data:
        _read_document(json.loads(data), 0.0, reading)
        reading.is_done = reading.finish_reason is not None
    return reading


def count_events(data: bytes) -> int:
    """The number of events that begin in `data`; cheap enough to call while a stream arrives."""
    return data.count(b"data:")


def _events(arrivals: Iterable[Arrival]) -> Iterator[tuple[float, str]]:
    """The data of each event and the time at which its last byte arrived."""
    rest = b""
    for arrival in arrivals:
        *events, rest = (rest + arrival.data).replace(b"\r\n", b"\n").split(_EVENT_END)
        for event in events:
            lines = [line[5:] for line in event.split(b"\n") if line.startswith(b"data:")]
            if lines:
                yield arrival.seconds, b"\n".join(lines).decode().strip()


def _read_document(document: dict[str, Any], seconds: float, reading: StreamReading) -> None:
    if "error" in document:
        reading.error = error_text(document)
        return
    reading.usage = document.get("usage") or reading.usage
    for choice in document.get("choices") or ():
        if choice.get("delta", {}).get("content"):
            reading.text_seconds.append(seconds)
        reading.finish_reason = choice.get("finish_reason") or reading.finish_reason


def error_text(document: dict[str, Any]) -> str:
    """The message of an error document of either server."""
    error = document.get("error", document)
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)
