"""Model events: sent to clients by /api/v2/events, and used inside the server.

Each is one JSON object with its kind as `type`; times are UTC.
"""

from datetime import datetime
from typing import Any, TypeAlias

import msgspec
from msgspec import field

from server.formats import utc_now


def _now() -> datetime:
    """The current time in whole seconds, like all times in the API."""
    return utc_now().replace(microsecond=0)


class StateChanged(msgspec.Struct, frozen=True, tag="state", kw_only=True):
    """A model changed its state.

    `reason` is why the model is unloaded (for `draining` and `unloaded`) or why it failed (for
    `failed`), otherwise null. `seconds` is the time the load took, with `loaded` only.
    """

    model: str
    status: str
    previous: str
    reason: str | None = None
    detail: str | None = None
    seconds: float | None = None
    time: datetime = field(default_factory=_now)


class LoadProgress(msgspec.Struct, frozen=True, tag="progress", kw_only=True):
    """The fraction of a model that is loaded, 0.0 to 1.0."""

    model: str
    progress: float
    time: datetime = field(default_factory=_now)


class WorkerCrashed(msgspec.Struct, frozen=True, tag="crash", kw_only=True):
    """A model's process crashed; `log` is the end of its output. A `state` event follows."""

    model: str
    detail: str
    log: tuple[str, ...] = ()
    time: datetime = field(default_factory=_now)


class ModelEvicted(msgspec.Struct, frozen=True, tag="eviction", kw_only=True):
    """A model is unloaded because `for_model` needs its memory. `state` events follow."""

    model: str
    for_model: str
    time: datetime = field(default_factory=_now)


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot", kw_only=True):
    """All models when the subscription began: the first event of every event stream."""

    models: list[dict[str, Any]]
    time: datetime = field(default_factory=_now)


class Lagged(msgspec.Struct, frozen=True, tag="lagged", kw_only=True):
    """The subscriber read too slowly and lost `missed` events; it should query the state again."""

    missed: int
    time: datetime = field(default_factory=_now)


class DownloadChanged(msgspec.Struct, frozen=True, tag="download", kw_only=True):
    """A download from a hub began, went on or ended; at most 5 a second for each download."""

    download: dict[str, Any]
    time: datetime = field(default_factory=_now)


class ModelsChanged(msgspec.Struct, frozen=True, tag="models_changed", kw_only=True):
    """The list of models has changed by a download or a deletion; the client should ask again.

    `removed` are the ids of deleted models.
    """

    removed: tuple[str, ...] = ()
    time: datetime = field(default_factory=_now)


class UseChanged(msgspec.Struct, frozen=True, tag="use", kw_only=True):
    """A model got its first lease or lost its last. Used inside the server only."""

    model: str
    n_requests: int


PublicEvent: TypeAlias = (
    StateChanged
    | LoadProgress
    | WorkerCrashed
    | ModelEvicted
    | DownloadChanged
    | ModelsChanged
    | Snapshot
    | Lagged
)
ModelEvent: TypeAlias = (
    StateChanged
    | LoadProgress
    | WorkerCrashed
    | ModelEvicted
    | DownloadChanged
    | ModelsChanged
    | UseChanged
)
