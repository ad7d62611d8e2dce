"""The answers to probes of the server's health."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from server.api.schema.replies.units import Count, Fraction, Status, Uptime


class HealthDocument(msgspec.Struct):
    """GET /api/v2/health."""

    status: Literal["healthy"]
    version: str
    uptime: Uptime
    last_error: str | None


class ProbedModel(msgspec.Struct):
    """A model in use or failed. `paused` sequences wait for their clients to read; `stalled` means
    that it has work but finishes no step, prepares no request or sends no report.
    """

    status: Status
    progress: Fraction | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    running: Count | UnsetType = UNSET
    waiting: Count | UnsetType = UNSET
    paused: Count | UnsetType = UNSET
    stalled: bool | UnsetType = UNSET


class ProbeDocument(msgspec.Struct):
    """The answer to a probe; /health has `models` by id for callers with a key."""

    status: Literal["ok", "ready"]
    models: dict[str, ProbedModel] | UnsetType = UNSET
    model: str | UnsetType = UNSET
