"""Writing one generation as server-sent events, for every dialect."""

import logging

from aiohttp import web

from server.api.chunks import ChunkForm
from server.error_forms import error_document
from server.errors import ApiError
from server.keys import CONFIG, REQUEST_ID
from server.middleware import unexpected_error
from server.protocol import SequenceOutput
from server.sse import SseWriter
from server.stream import TokenStream

logger = logging.getLogger(__name__)


async def stream_answer(
    request: web.Request,
    stream: TokenStream,
    form: ChunkForm,
    ping_interval: int | None = None,
    *,
    end_mark: bool = True,
    named_events: bool = False,
) -> web.StreamResponse:
    """Write `stream` to the client as it comes, and return the finished response.

    The headers are held back until the first text is there, so that an error before it is a plain
    JSON answer with its status; not longer than the configured time, though. After that an error is
    an event, and the stream ends without [DONE]. While nothing comes, a comment is written every
    `ping_interval` seconds; None is the configured time, less than 1 is never. `end_mark` is the
    [DONE] of OpenAI's streams, `named_events` are Anthropic's.
    """
    config = request.app[CONFIG]
    first = await stream.next(config.header_hold_seconds)
    sse = await SseWriter.open(request, named=named_events)
    try:
        ping_seconds = _ping_seconds(ping_interval, config.ping_seconds)
        await _write(sse, stream, form, first, ping_seconds)
        await sse.finish(end_mark=end_mark)
    except ConnectionResetError:
        logger.debug("request %s: the client has gone", request[REQUEST_ID])
    except ApiError as error:
        await sse.send([error_document(request.path, error)])
    except Exception as error:
        logger.exception("request %s failed in mid-stream", request[REQUEST_ID])
        await sse.send([error_document(request.path, unexpected_error(request, error))])
    return sse.response


async def _write(
    sse: SseWriter,
    stream: TokenStream,
    form: ChunkForm,
    output: SequenceOutput | None,
    ping_seconds: float | None,
) -> None:
    while True:
        if output is None:
            await sse.ping()
        else:
            await sse.send(form.chunks(output))
        if stream.is_done:
            await sse.send(form.ending(stream.usage))
            return
        output = await stream.next(ping_seconds)


def _ping_seconds(asked: int | None, configured: float) -> float | None:
    if asked is None:
        return configured
    return asked if asked > 0 else None
