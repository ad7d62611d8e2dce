"""What we ask of huggingface_hub, and its errors as codes. Runs in a child process only.

HfApi is imported where it is used: a download does without it, and it takes a while.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants, hf_hub_url
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import get_hf_file_metadata

from server.hub.messages import Described, Failed, Found, FoundRepo
from server.hub.reference import is_commit, is_repo, why_not_a_path
from server.hub.repo_files import RepoFile

# A hub that does not answer within this many seconds is unreachable.
_SECONDS = 20.0
_RETRY_SECONDS = 30
_CHECKSUM = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class HubAnswerError(Exception):
    """What the hub sends cannot be used; `code` is that of the reply."""

    code = "download_failed"


class CorruptFileError(HubAnswerError):
    """The file does not have the checksum that the hub lists."""

    code = "hub_corrupt"

    @classmethod
    def for_file(cls, path: str) -> Self:
        """The error for a whole file, which was removed."""
        return cls(
            f"{path} came from {host()} with the wrong checksum, and was removed; start the "
            "download again, and ask the owner of the repository if that fails too"
        )


class NotAHubError(HubAnswerError):
    """The answer is not one of a hub."""

    code = "hub_unreachable"


class NeedsXetError(HubAnswerError):
    """The hub sends this file only to hf-xet, which is not installed."""

    code = "hub_not_installed"


@contextmanager
def _hub_answers() -> Iterator[None]:
    """Turn what the library raises for an answer of the wrong form into NotAHubError: a lookup
    depends on nothing but the answer.
    """
    try:
        yield
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, HubAnswerError):
        raise
    except (FileMetadataError, httpx2.HTTPError, OSError, ImportError, MemoryError):
        raise
    except Exception as error:
        kind = type(error).__name__
        raise NotAHubError(
            f"{host()} does not answer as a hub does ({kind}); check HF_ENDPOINT, and whether a "
            "proxy or a login page answers in its place"
        ) from error


@_hub_answers()
def search(number: int, text: str, limit: int) -> Found:
    """Repositories with GGUF files, the most downloaded first."""
    from huggingface_hub import HfApi

    found = HfApi().list_models(search=text, filter="gguf", sort="downloads", limit=limit)
    return Found(
        number,
        tuple(
            FoundRepo(
                model.id,
                model.downloads,
                model.likes,
                _time(model.last_modified),
                bool(model.gated),
            )
            for model in found
            # A repository with an invalid name could not be opened.
            if is_repo(model.id)
        ),
    )


@_hub_answers()
def describe(number: int, repo: str, revision: str) -> Described:
    """The files of a repository, with sizes and checksums."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=_SECONDS)
    files = tuple(
        RepoFile(
            one.rfilename,
            max(0, one.size or 0),
            sha256=_checksum(one.lfs.sha256) if one.lfs else None,
            git_oid=None if one.lfs else _checksum(one.blob_id),
        )
        for one in info.siblings or ()
        if why_not_a_path(one.rfilename) is None
    )
    if not is_repo(info.id):
        raise NotAHubError(f"{host()} gives {repo} an invalid name; check HF_ENDPOINT")
    if not is_commit(info.sha or ""):
        raise NotAHubError(f"{host()} names no commit of {repo}; check HF_ENDPOINT")
    return Described(number, info.id, info.sha or "", bool(info.gated), files)


@_hub_answers()
def probe(repo: str, commit: str, file: str) -> None:
    """Ask for the head of a file, which fails where the file may not be read."""
    get_hf_file_metadata(hf_hub_url(repo, file, revision=commit), timeout=_SECONDS)


def host() -> str:
    """The hub's name for messages, without a password."""
    return urlsplit(constants.ENDPOINT).netloc.rpartition("@")[2] or "the hub"


def _checksum(value: object) -> str | None:
    """A checksum, which becomes a file's name in the cache; None if it is something else."""
    return value if isinstance(value, str) and _CHECKSUM.fullmatch(value) else None


def failure(number: int, error: BaseException, repo: str = "") -> Failed:
    """The error as a code and a sentence, which carries no address and no token."""
    wait: int | None = None
    match error:
        case HfHubHTTPError():
            return _http_failure(number, error, repo)
        case OfflineModeIsEnabled():
            code, message = "offline", "this server is offline (HF_HUB_OFFLINE is set)"
        case HFValidationError():
            code, message = "invalid_model_name", f"{repo!r} is not the name of a repository"
        case HubAnswerError(code=code):
            message = str(error)
        case httpx2.HTTPError() | FileMetadataError():
            code, wait = "hub_unreachable", _RETRY_SECONDS
            kind = type(error).__name__
            message = f"{host()} cannot be reached ({kind}); check the network and retry"
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            code = "insufficient_disk_space"
            message = "the disk of the cache is full; free some space, and start the download again"
        case OSError(strerror=str(why)):
            code, message = "cache_not_writable", f"the cache cannot be written: {why}"
        case OSError():
            code, wait = "hub_unreachable", _RETRY_SECONDS
            message = f"{host()} ended the connection early each time; start the download again"
        case _:
            code, message = "download_failed", f"the download failed: {type(error).__name__}"
    return Failed(number, code, message, wait)


def _http_failure(number: int, error: HfHubHTTPError, repo: str) -> Failed:
    where, status = host(), error.response.status_code
    target = repo or "its list of models"
    use_token = "start the server with a token that may read it, by HF_TOKEN or --hf-token"
    code, wait = "hub_not_found", None
    if isinstance(error, GatedRepoError):
        code = "hub_gated"
        message = f"{repo} is gated: ask for access on {where}/{repo}, then {use_token}"
    elif isinstance(error, RevisionNotFoundError):
        message = f"{repo} has no such revision on {where}"
    elif isinstance(error, RemoteEntryNotFoundError):
        message = f"{repo} has no such file on {where}"
    elif isinstance(error, RepositoryNotFoundError) or status == 404:
        message = f"{repo} does not exist on {where}, or is private; in that case {use_token}"
        if not repo:
            code, message = "hub_unreachable", f"{where} has no list of models; check HF_ENDPOINT"
    elif status in (401, 403):
        code = "hub_gated"
        message = f"{where} refused access to {target} (status {status}); {use_token}"
    elif status == 429:
        code, wait = "hub_rate_limited", _retry_after(error)
        message = f"{where} limits the rate of requests; retry in {wait} s"
    else:
        code, wait = "hub_unreachable", _RETRY_SECONDS
        message = f"{where} answered with status {status}; retry later"
    return Failed(number, code, message, wait)


def _retry_after(error: HfHubHTTPError) -> int:
    value: Any = error.response.headers.get("Retry-After", "")
    return min(int(value), 86_400) if value.isascii() and value.isdigit() else _RETRY_SECONDS


def _time(value: datetime | None) -> str | None:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value else None
