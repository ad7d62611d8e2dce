"""The states of a model, the reasons for unloading it, and failures."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ModelState(StrEnum):
    """The state of a model, with the values of the API."""

    UNLOADED = "unloaded"
    QUEUED = "queued"
    LOADING = "loading"
    LOADED = "loaded"
    DRAINING = "draining"
    FAILED = "failed"
    BROKEN = "broken"


class UnloadReason(StrEnum):
    """Why a model leaves memory without a failure."""

    REQUESTED = "requested"
    RELOAD = "reload"
    IDLE = "idle"
    EVICTED = "evicted"
    CANCELLED = "cancelled"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a model is not loaded: a machine-readable reason, a sentence, and its last log lines.

    `param` names the wrong setting, if there is one. Clients can read all of it, so it must be
    redacted (see server.models.redaction).
    """

    reason: str
    detail: str
    log_tail: tuple[str, ...] = ()
    param: str | None = None


_S = ModelState
TRANSITIONS: Final = {
    _S.UNLOADED: {_S.QUEUED, _S.BROKEN},
    _S.BROKEN: {_S.UNLOADED, _S.QUEUED},
    _S.FAILED: {_S.QUEUED, _S.UNLOADED, _S.BROKEN, _S.FAILED},
    _S.QUEUED: {_S.LOADING, _S.UNLOADED, _S.BROKEN, _S.FAILED},
    _S.LOADING: {_S.LOADED, _S.UNLOADED, _S.BROKEN, _S.FAILED},
    _S.LOADED: {_S.DRAINING, _S.UNLOADED, _S.FAILED},
    _S.DRAINING: {_S.UNLOADED, _S.BROKEN, _S.FAILED},
}
"""The states that may follow each state; any other transition is a bug."""
