"""Ollama's /api/pull and /api/delete: download models from the hub, and delete them."""

import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from aiohttp import web

from server.api.ollama.models import find_model
from server.api.ollama.schema import DeleteBody, PullBody
from server.api.shared.hub_deletion import delete_model
from server.errors import ModelNotFoundError
from server.http.access import require_admin
from server.http.app_keys import DOWNLOADS, EVENT_STREAMS, REQUEST_ID
from server.http.body.json_body import json_reply, read_body
from server.http.ndjson import NdjsonWriter
from server.hub.download import Download
from server.hub.errors import read_reference
from server.hub.reference import is_reference

logger = logging.getLogger(__name__)
_SUCCESS = {"status": "success"}
_DIGEST_CHARACTERS = 12


async def pull(request: web.Request) -> web.StreamResponse:
    """POST /api/pull: the progress line by line, or with `stream: false` only the end.

    A client that disconnects cancels the download that it began, as in Ollama, unless another
    client waits for it; the next pull continues it.
    """
    require_admin(request)
    body = await read_body(request, PullBody)
    name = body.named
    if not is_reference(name) and await _exists(request, name):
        # A model of the models directory: clients pull before they chat.
        return json_reply(_SUCCESS) if body.stream is False else await _success(request)
    download, is_new = await request.app[DOWNLOADS].start(read_reference(name))
    with suppress(ConnectionResetError):
        async with _shared(request, download, is_new=is_new):
            if body.stream is False:
                while not download.is_finished:
                    await download.changed.wait()
                if download.failure is not None:
                    raise download.failure
                return json_reply(_end(download))
            return await _stream(request, download)
    logger.debug("request %s: the client disconnected", request[REQUEST_ID])
    return web.Response()


async def delete(request: web.Request) -> web.Response:
    """DELETE /api/delete: an empty answer once the model is gone."""
    require_admin(request)
    body = await read_body(request, DeleteBody)
    await delete_model(request.app, await find_model(request, body.named))
    return web.Response()


class _shared:  # noqa: N801 - used like a function
    """Counts the pulls that wait for a download; the last to leave cancels it."""

    def __init__(self, request: web.Request, download: Download, *, is_new: bool) -> None:
        self._downloads = request.app[DOWNLOADS]
        self._download = download
        if is_new:
            download.ends_with_pulls = True

    async def __aenter__(self) -> None:
        self._download.n_pulls += 1

    async def __aexit__(self, *_: object) -> None:
        download = self._download
        download.n_pulls -= 1
        if download.ends_with_pulls and not download.n_pulls and not download.is_finished:
            await self._downloads.cancel(download.id)


async def _exists(request: web.Request, name: str) -> bool:
    try:
        await find_model(request, name)
    except ModelNotFoundError:
        return False
    return True


async def _success(request: web.Request) -> web.StreamResponse:
    lines = await NdjsonWriter.open(request)
    await lines.send([_SUCCESS])
    await lines.finish()
    return lines.response


async def _stream(request: web.Request, download: Download) -> web.StreamResponse:
    with request.app[EVENT_STREAMS].count():
        return await _follow(request, download)


async def _follow(request: web.Request, download: Download) -> web.StreamResponse:
    lines = await NdjsonWriter.open(request)
    await lines.send([{"status": "pulling manifest"}])
    async for documents in _progress(download):
        await lines.send(documents)
    if download.state == "completed":
        await lines.send([{"status": "verifying sha256 digest"}, {"status": "writing manifest"}])
    await lines.send([_end(download)])
    await lines.finish()
    return lines.response


async def _progress(download: Download) -> AsyncIterator[list[dict[str, Any]]]:
    """The files that have changed, after every change."""
    sent: dict[str, Any] = {}
    while True:
        changed = download.changed
        files = zip(download.files.all, download.document()["files"], strict=True)
        documents = [
            {
                "status": f"pulling {file.etag[:_DIGEST_CHARACTERS]}",
                "digest": f"sha256:{file.etag}",
                "total": state["bytes"],
                "completed": state["bytes_done"],
            }
            for file, state in files
        ]
        new = [one for one in documents if sent.get(one["digest"]) != one]
        sent |= {one["digest"]: one for one in new}
        if new:
            yield new
        if download.is_finished:
            return
        await changed.wait()


def _end(download: Download) -> dict[str, Any]:
    if download.state == "completed":
        return _SUCCESS
    error = download.error or {"code": "cancelled", "message": "the download was cancelled"}
    return {"error": error["message"], "code": error["code"]}
