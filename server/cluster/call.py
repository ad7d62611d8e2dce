"""Call and Head: a request and the start of its answer, between ingress and replica."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request as the replica sends it to its server.

    `target` is path and query as the client wrote them. `caller` names the actor of the
    ingress. `prompt` is for the router alone, which compares it with the prompts of earlier calls;
    "" routes by load.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    caller: str
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """The status and the headers of an answer; the chunks of its body follow."""

    status: int
    headers: tuple[tuple[str, str], ...]
    replica: str


class ServerLostError(Exception):
    """The replica's server ended before its answer was complete."""


class StartError(RuntimeError):
    """The replica's server could not start, or not load its model; the message says why."""
