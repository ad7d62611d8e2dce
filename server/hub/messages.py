"""The messages between the server and the processes that talk to the hub (python -m server.hub).

Requests go to the process's stdin and replies come from its stdout, as frames of
server.protocol.framing. A token travels in the environment, never in a message.
"""

from typing import TypeAlias

import msgspec

from server.hub.repo_files import RepoFile


class Search(msgspec.Struct, frozen=True, tag="search"):
    """Search repositories with GGUF files; answered by Found."""

    id: int
    text: str
    limit: int


class Describe(msgspec.Struct, frozen=True, tag="describe"):
    """Ask for the files of a repository; answered by Described."""

    id: int
    repo: str
    revision: str


class Probe(msgspec.Struct, frozen=True, tag="probe"):
    """Ask whether a file may be read; answered by Probed."""

    id: int
    repo: str
    commit: str
    file: str


class Fetch(msgspec.Struct, frozen=True, tag="fetch"):
    """Download files into the cache; answered by Progress, then Fetched."""

    id: int
    cache: str
    repo: str
    revision: str
    commit: str
    files: tuple[RepoFile, ...]


class FoundRepo(msgspec.Struct, frozen=True):
    """One repository that a search found; `updated` is in ISO form."""

    repo: str
    downloads: int | None
    likes: int | None
    updated: str | None
    gated: bool


class Found(msgspec.Struct, frozen=True, tag="found"):
    """The repositories that a search found, the most downloaded first."""

    id: int
    repos: tuple[FoundRepo, ...]


class Described(msgspec.Struct, frozen=True, tag="described"):
    """A repository at one commit."""

    id: int
    repo: str
    commit: str
    gated: bool
    files: tuple[RepoFile, ...]


class Probed(msgspec.Struct, frozen=True, tag="probed"):
    """The file may be read."""

    id: int


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """The bytes on disk of each file of a Fetch, in order; sent at most 5 times a second."""

    id: int
    done: tuple[int, ...]


class Fetched(msgspec.Struct, frozen=True, tag="fetched"):
    """All files are in the cache."""

    id: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A request failed: `code` as in server.hub.errors, `message` for people."""

    id: int
    code: str
    message: str
    retry_after: int | None = None


Request: TypeAlias = Search | Describe | Probe | Fetch
Reply: TypeAlias = Found | Described | Probed | Progress | Fetched | Failed
