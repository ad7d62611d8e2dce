"""What goes into the engine and what comes out: plain values that may cross processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from llamabind.errors import InvalidParameterError
from llamabind.sampling_params import SamplingParams

MAX_STOP_STRINGS = 64
MAX_STOP_LENGTH = 4096


class FinishReason(StrEnum):
    """Why a request ended."""

    STOP = "stop"
    """The model ended its answer, or a stop string was found."""
    LENGTH = "length"
    """`max_tokens` or the end of the context was reached."""
    ABORT = "abort"
    """The request was cancelled."""
    ERROR = "error"
    """The request failed; `RequestOutput.error` tells why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One prompt and how to continue it.

    `prompt_tokens` are token ids, at least one. `max_tokens` counts generated tokens, the one that
    ends the answer included; None means until the model ends its answer or the context is full.
    `stop` strings end the answer and are not part of it. `preserved_tokens` are control tokens that
    appear in the text all the same (tool-call markers). `caller` groups requests for fairness.
    Raises InvalidParameterError.
    """

    request_id: str
    prompt_tokens: tuple[int, ...]
    sampling: SamplingParams = field(default_factory=SamplingParams)
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    preserved_tokens: frozenset[int] = frozenset()
    caller: str = ""

    def __post_init__(self) -> None:
        if not self.prompt_tokens:
            raise InvalidParameterError("prompt", "must have at least one token")
        if self.max_tokens is not None and self.max_tokens < 0:
            raise InvalidParameterError("max_tokens", f"must be >= 0, but got {self.max_tokens}")
        if len(self.stop) > MAX_STOP_STRINGS:
            raise InvalidParameterError(
                "stop", f"at most {MAX_STOP_STRINGS} strings, but got {len(self.stop)}"
            )
        for stop in self.stop:
            if not 0 < len(stop) <= MAX_STOP_LENGTH:
                raise InvalidParameterError(
                    "stop", f"each string must have 1 to {MAX_STOP_LENGTH} characters"
                )


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one request. `cached_tokens` of the prompt were reused, not computed."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Timings:
    """Where a request's time went, in milliseconds: waiting, prompt, answer."""

    queue_ms: float
    prompt_ms: float
    decode_ms: float


@dataclass(frozen=True, slots=True)
class RequestOutput:
    """What one step added to one request.

    `text` and `token_ids` are new since the last output; concatenated they are the whole answer.
    `timings` come with the last output, the one that has a `finish_reason`; `error` with
    FinishReason.ERROR.
    """

    request_id: str
    text: str
    token_ids: tuple[int, ...]
    usage: Usage
    finish_reason: FinishReason | None = None
    timings: Timings | None = None
    error: str | None = None
