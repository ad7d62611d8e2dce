"""/api/v2/downloads: download models from the hub, watch and cancel downloads."""

import asyncio
import logging
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from server.api.v2.events import query_flag, wants_events
from server.http.access import require_admin
from server.http.app_keys import CONFIG, DOWNLOADS, EVENT_STREAMS, REQUEST_ID
from server.http.body.json_body import json_reply, read_body
from server.http.sse import SseWriter
from server.hub.download import Download
from server.hub.errors import read_reference

logger = logging.getLogger(__name__)


class DownloadBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /api/v2/downloads."""

    model: Annotated[str, Meta(min_length=1)]
    file: str | None = None


async def start_download(request: web.Request) -> web.StreamResponse:
    """POST /api/v2/downloads: 202 for a new download, 200 for one that runs or is complete."""
    require_admin(request)
    body = await read_body(request, DownloadBody)
    reference = read_reference(body.model, body.file)
    download, is_new = await request.app[DOWNLOADS].start(reference, body.file)
    if wants_events(request):
        return await _watch(request, download)
    return json_reply(download.document(), status=202 if is_new else 200)


async def list_downloads(request: web.Request) -> web.Response:
    """GET /api/v2/downloads."""
    downloads = request.app[DOWNLOADS].all
    return json_reply({"object": "list", "data": [one.document() for one in downloads]})


async def show_download(request: web.Request) -> web.StreamResponse:
    """GET /api/v2/downloads/{id}, with ?stream=true as events up to its end."""
    download = request.app[DOWNLOADS].get(request.match_info["id"])
    if wants_events(request):
        return await _watch(request, download)
    return json_reply(download.document())


async def cancel_download(request: web.Request) -> web.Response:
    """DELETE /api/v2/downloads/{id}: end it and keep the part, with ?discard=true remove it."""
    require_admin(request)
    discard = query_flag(request, "discard")
    download = await request.app[DOWNLOADS].cancel(request.match_info["id"], discard=discard)
    return json_reply(download.document())


async def _watch(request: web.Request, download: Download) -> web.StreamResponse:
    """The download after every change, as server-sent events; the last one is its end."""
    with request.app[EVENT_STREAMS].count():
        return await _follow(request, download)


async def _follow(request: web.Request, download: Download) -> web.StreamResponse:
    ping_seconds = request.app[CONFIG].ping_seconds
    sse = await SseWriter.open(request, end_mark=False)
    try:
        while True:
            # Taken before the document: no change between the two is missed.
            changed = download.changed
            await sse.send([download.document()])
            if download.is_finished:
                break
            while not changed.is_set():
                try:
                    async with asyncio.timeout(ping_seconds):
                        await changed.wait()
                except TimeoutError:
                    await sse.ping()
        await sse.finish()
    except ConnectionResetError:
        logger.debug("request %s: the client disconnected", request[REQUEST_ID])
    return sse.response
