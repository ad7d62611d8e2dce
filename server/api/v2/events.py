"""/api/v2/events and streamed loads: state changes and load progress as server-sent events."""

import asyncio
import logging
from functools import partial
from typing import Any

from aiohttp import web

from llamabind.errors import InvalidParameterError
from server.api.v2.load_schema import load_reply
from server.api.v2.schema import loaded_model
from server.errors import ApiError, InvalidRequestError, invalid_parameter
from server.http.app_keys import BUS, CONFIG, EVENT_STREAMS, REGISTRY, REQUEST_ID
from server.http.middleware import unexpected_error
from server.http.sse import SseWriter, sse_text
from server.models.entry import ModelEntry
from server.models.event_bus import Subscription
from server.models.events import Snapshot
from server.models.registry import ModelRegistry
from server.protocol.load_settings import LoadSettings

logger = logging.getLogger(__name__)
_YES = ("true", "1", "on", "enabled")
_NO = ("false", "0", "off", "disabled", "")


async def watch_models(request: web.Request) -> web.StreamResponse:
    """GET /api/v2/events, with ?model=ID for one model: a snapshot, then every event, without an
    end.

    Never loads a model. While nothing happens it sends a comment every --ping-seconds.
    """
    with request.app[EVENT_STREAMS].count():
        return await _watch_models(request)


async def _watch_models(request: web.Request) -> web.StreamResponse:
    registry, bus = request.app[REGISTRY], request.app[BUS]
    model_id = request.query.get("model")
    if model_id is not None:
        entries = [await registry.find(model_id)]
        model_id = entries[0].id
    else:
        entries = await registry.list()
    # No await between here and the snapshot, so no event can be missed between the two.
    with bus.subscribe(model_id) as events:
        snapshot = Snapshot(models=[_snapshot_of(entry) for entry in entries])
        sse = await SseWriter.open(request)
        try:
            await sse.send([snapshot])
            await _forward(request, sse, events)
        except ConnectionResetError:
            logger.debug("request %s: the client disconnected", request[REQUEST_ID])
        return sse.response


def wants_events(request: web.Request) -> bool:
    """Whether the client requests the events of its load. Raises InvalidRequestError."""
    accepts = request.headers.get("Accept", "").lower()
    return query_flag(request, "stream") or "text/event-stream" in accepts


def query_flag(request: web.Request, name: str) -> bool:
    """A boolean of the query string; False if it is absent. Raises InvalidRequestError."""
    value = request.query.get(name, "").lower()
    if value in _YES:
        return True
    if value in _NO:
        return False
    raise InvalidRequestError(f"'{name}' is {value!r}, expected true or false", param=name)


async def stream_load(request: web.Request, settings: LoadSettings) -> web.StreamResponse:
    """Load a model and send its events; the last event is the load's reply or {"error": ...}.

    An error in the request itself is a plain JSON error, unless it is found only after
    --header-hold-seconds. A client that disconnects does not stop the load, as other requests may
    wait for it; an unload does.
    """
    with request.app[EVENT_STREAMS].count():
        return await _stream_load(request, settings)


async def _stream_load(request: web.Request, settings: LoadSettings) -> web.StreamResponse:
    registry, bus, config = request.app[REGISTRY], request.app[BUS], request.app[CONFIG]
    entry = await registry.find(request.match_info["model_id"])
    load = asyncio.ensure_future(_load(registry, entry.id, settings))
    load.add_done_callback(_retrieve_exception)
    with bus.subscribe(entry.id) as events:
        load.add_done_callback(lambda _: events.end())
        first = await events.next(config.header_hold_seconds)
        # Failed before the first event: the headers are not sent, so the error gets its status.
        if first is None and load.done() and load.exception() is not None:
            await load
        sse = await SseWriter.open(request)
        try:
            if first is not None:
                await sse.send([first])
            elif not events.has_ended:
                await sse.ping()
            await _forward(request, sse, events)
            await sse.send([await _outcome(request, load)])
            await sse.response.write_eof()
        except ConnectionResetError:
            logger.debug("request %s: the client disconnected", request[REQUEST_ID])
        return sse.response


async def _forward(request: web.Request, sse: SseWriter, events: Subscription) -> None:
    streams, ping_seconds = request.app[EVENT_STREAMS], request.app[CONFIG].ping_seconds
    while not events.has_ended:
        event = await events.next(ping_seconds)
        if event is not None:
            await sse.write(streams.text(event, "v2", partial(sse_text, [event])))
        elif not events.has_ended:
            await sse.ping()


async def _load(registry: ModelRegistry, model_id: str, settings: LoadSettings) -> dict[str, Any]:
    # No await between the load and its reply: the model may be unloaded again soon.
    return load_reply(await registry.load(model_id, settings))


async def _outcome(request: web.Request, load: "asyncio.Future[dict[str, Any]]") -> dict[str, Any]:
    try:
        return await load
    except InvalidParameterError as error:
        return invalid_parameter(error).body()
    except ApiError as error:
        return error.body()
    except Exception as error:
        logger.exception("request %s failed in mid-stream", request[REQUEST_ID])
        return unexpected_error(request, error).body()


def _snapshot_of(entry: ModelEntry) -> dict[str, Any]:
    failure = entry.failure
    return loaded_model(entry) | {
        "model": entry.id,
        "progress": round(entry.progress, 3),
        "reason": failure.reason if failure else entry.file.reason,
        "detail": failure.detail if failure else entry.file.broken,
    }


def _retrieve_exception(load: "asyncio.Future[dict[str, Any]]") -> None:
    """Mark the exception as retrieved: if the client disconnects, nothing else awaits the load.

    The model's state keeps the failure.
    """
    if not load.cancelled():
        load.exception()
