"""Where a model is in its life, why it left memory, and why it failed."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ModelState(StrEnum):
    """Where a model is in its life; the words of the API."""

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
    """Why a model is not loaded: a word for programs, a sentence, and the last lines of its log.

    `param` names the setting, where one is wrong.
    Clients read all of it: one line of detail, and no paths of this machine (see public_text).
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
"""Which states may follow each; anything else is a bug of ours."""
