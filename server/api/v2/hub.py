"""/api/v2/hub: search the hub, and list the models of a repository with their sizes."""

import asyncio
from typing import Any

from aiohttp import web

from server.errors import InvalidRequestError
from server.http.app_keys import HUB_CACHE, LOOKUPS, SYSTEM
from server.http.body.json_body import json_reply
from server.hub.cache import HubCache
from server.hub.errors import invalid_name
from server.hub.messages import Described
from server.hub.reference import MAIN, BadReferenceError, check_repo, check_revision
from server.hub.repo_files import ModelFiles, default_of, models_in, quantisation, references_of
from server.monitoring.system_metrics import SystemDocument

_DEFAULT_LIMIT, _MAX_LIMIT = 20, 100
_MAX_TEXT = 200
# The context and the buffers of a computation, beside the weights.
_OVERHEAD = 1.1


async def search_models(request: web.Request) -> web.Response:
    """GET /api/v2/hub/models?search=TEXT&limit=N: repositories with GGUF files."""
    text = request.query.get("search", "").strip()
    if len(text) > _MAX_TEXT or not text.isprintable():
        raise InvalidRequestError(
            f"'search' has {len(text)} characters, expected at most {_MAX_TEXT} printable ones",
            param="search",
        )
    found = await request.app[LOOKUPS].search(text, _limit(request))
    return json_reply({"object": "list", "data": found.repos})


async def show_repository(request: web.Request) -> web.Response:
    """GET /api/v2/hub/models/{org}/{repo}?revision=NAME: its models, and whether they fit."""
    repo = f"{request.match_info['org']}/{request.match_info['repo']}"
    revision = request.query.get("revision") or MAIN
    try:
        check_repo(repo)
        check_revision(revision)
    except BadReferenceError as error:
        raise invalid_name(error) from None
    described = await request.app[LOOKUPS].describe(repo, revision)
    cache, system = request.app[HUB_CACHE], request.app[SYSTEM].document
    # A hub may list thousands of files, and the cache may be on a slow disk.
    data = await asyncio.to_thread(_documents, described, revision, cache, system)
    return json_reply({"repo": repo, "revision": revision, "gated": described.gated, "files": data})


def _documents(
    described: Described, revision: str, cache: HubCache, system: SystemDocument
) -> list[dict[str, Any]]:
    default = default_of(described.files)
    references = references_of(described.files)
    at = f"@{revision}" if revision != MAIN else ""

    def document(model: ModelFiles) -> dict[str, Any]:
        quant = references.get(model.path)
        return {
            "file": model.path,
            "quantisation": quantisation(model.path),
            "bytes": model.size,
            "n_shards": len(model.parts),
            "mmproj": model.projector.path if model.projector else None,
            "default": model.path == default,
            "downloaded": all(
                cache.has(described.repo, described.commit, one) for one in model.all
            ),
            "model": f"{described.repo}:{quant}{at}" if quant else f"{described.repo}{at}",
            "fits": fits(model.size, system),
        }

    return [document(model) for model in models_in(described.files)]


def fits(size: int, system: SystemDocument) -> str:
    """Whether a model of `size` bytes fits into what is free now: `yes`, wholly on GPUs and devices
    of RPC servers, or in host memory on a machine without; `partly`, on both together; `no`.
    """
    needed = size * _OVERHEAD
    host = system.memory.available_mb << 20
    memories = [gpu.memory for gpu in system.gpus]
    memories += [device.memory for device in system.rpc_devices if device.memory is not None]
    devices = sum(max(0, memory.total_mb - memory.used_mb) << 20 for memory in memories)
    if needed <= (devices if memories else host):
        return "yes"
    return "partly" if memories and needed <= devices + host else "no"


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", "")
    if not text:
        return _DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_LIMIT):
        raise InvalidRequestError(
            f"'limit' is {text[:32]!r}, expected a whole number from 1 to {_MAX_LIMIT}",
            param="limit",
        )
    return int(text)
