"""The hub in /api/v2: downloads, searches, repositories, deletions."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from server.api.schema.replies.units import Count, UtcTime


class DownloadFile(msgspec.Struct):
    """A file of a download; `bytes_done` are on disk already."""

    file: str
    bytes: Count
    bytes_done: Count


class DownloadError(msgspec.Struct):
    """Why a download has failed."""

    code: str
    message: str


class DownloadDocument(msgspec.Struct):
    """A model on its way from the hub to the cache; `model_id` is set once it is completed."""

    id: str
    model: str
    repo: str
    revision: str
    files: list[DownloadFile]
    state: Literal["queued", "running", "completed", "failed", "cancelled"]
    bytes_total: Count
    bytes_done: Count
    bytes_per_second: Count
    eta_seconds: Annotated[float, Meta(ge=0)] | None
    error: DownloadError | None
    model_id: str | None
    created: UtcTime
    finished: UtcTime | None


class DownloadsDocument(msgspec.Struct):
    """Every download since the server's start, the oldest first."""

    object: Literal["list"]
    data: list[DownloadDocument]


class HubRepository(msgspec.Struct):
    """A repository that a search found; numbers are the hub's."""

    repo: str
    downloads: int | None
    likes: int | None
    updated: str | None
    gated: bool


class HubSearch(msgspec.Struct):
    """Repositories with GGUF files, the most downloaded first."""

    object: Literal["list"]
    data: list[HubRepository]


class HubModel(msgspec.Struct):
    """A model of a repository; `bytes` counts its shards and its projector.

    POST /api/v2/downloads takes `model`, together with `file`.
    """

    file: str
    quantisation: str | None
    bytes: Count
    n_shards: Annotated[int, Meta(ge=1)]
    mmproj: str | None
    default: bool
    downloaded: bool
    model: str
    fits: Literal["yes", "partly", "no"] | None


class HubFiles(msgspec.Struct):
    """The models of a repository."""

    repo: str
    revision: str
    gated: bool
    files: list[HubModel]


class DeletedModel(msgspec.Struct):
    """A model that was deleted from the hub's cache."""

    id: str
    deleted: bool
    bytes_freed: Count
