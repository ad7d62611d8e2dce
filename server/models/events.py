"""What happens to models: the events that /api/v2/events sends and that the server's parts act on.

Each is one JSON object whose `type` says what it is; times are UTC.
"""

from datetime import datetime
from typing import Any, TypeAlias

import msgspec
from msgspec import field

from server.formats import utc_now


def _now() -> datetime:
    """Whole seconds, as all times of the API."""
    return utc_now().replace(microsecond=0)


class StateChanged(msgspec.Struct, frozen=True, tag="state", kw_only=True):
    """A model went from one state to another.

    `reason` is an UnloadReason for `draining` and `unloaded`, the failure's word for `failed`, else
    null. `seconds` is how long the load took, with `loaded` only.
    """

    model: str
    status: str
    previous: str
    reason: str | None = None
    detail: str | None = None
    seconds: float | None = None
    time: datetime = field(default_factory=_now)


class LoadProgress(msgspec.Struct, frozen=True, tag="progress", kw_only=True):
    """So much of a model is loaded, 0.0 to 1.0."""

    model: str
    progress: float
    time: datetime = field(default_factory=_now)


class WorkerCrashed(msgspec.Struct, frozen=True, tag="crash", kw_only=True):
    """A model's process died on its own, with the last lines it wrote. A `state` event follows."""

    model: str
    detail: str
    log: tuple[str, ...] = ()
    time: datetime = field(default_factory=_now)


class ModelEvicted(msgspec.Struct, frozen=True, tag="eviction", kw_only=True):
    """A model has to go because `for_model` needs its memory. `state` events follow."""

    model: str
    for_model: str
    time: datetime = field(default_factory=_now)


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot", kw_only=True):
    """How things stood when the subscription began: the first event of every stream."""

    models: list[dict[str, Any]]
    time: datetime = field(default_factory=_now)


class Lagged(msgspec.Struct, frozen=True, tag="lagged", kw_only=True):
    """The subscriber read too slowly and has missed `missed` events: it should look anew."""

    missed: int
    time: datetime = field(default_factory=_now)


class UseChanged(msgspec.Struct, frozen=True, tag="use", kw_only=True):
    """A model got its first user or lost its last. For the server's own parts, never sent out."""

    model: str
    n_requests: int


PublicEvent: TypeAlias = (
    StateChanged | LoadProgress | WorkerCrashed | ModelEvicted | Snapshot | Lagged
)
ModelEvent: TypeAlias = StateChanged | LoadProgress | WorkerCrashed | ModelEvicted | UseChanged
