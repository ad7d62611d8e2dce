"""Writing one generation as server-sent events, for every dialect that ends with [DONE]."""

import logging

from aiohttp import web

from server.api.chunks import ChunkForm
from server.errors import ApiError
from server.keys import CONFIG, REQUEST_ID
from server.middleware import unexpected_error
from server.sse import SseWriter
from server.stream import Piece, TokenStream

logger = logging.getLogger(__name__)


async def stream_answer(
    request: web.Request, stream: TokenStream, form: ChunkForm
) -> web.StreamResponse:
    """Write `stream` to the client as it comes, and return the finished response.

    The headers are held back until the first text is there, so that an error before it is a plain
    JSON answer with its status; not longer than the configured time, though. After that an error is
    an event, and the stream ends without [DONE].
    """
    config = request.app[CONFIG]
    first = await stream.next(config.header_hold_seconds)
    sse = await SseWriter.open(request)
    try:
        await _write(sse, stream, form, first, config.ping_seconds)
    except ConnectionResetError:
        logger.debug("request %s: the client has gone", request[REQUEST_ID])
    except ApiError as error:
        await sse.send([error.body()])
    except Exception as error:
        logger.exception("request %s failed in mid-stream", request[REQUEST_ID])
        await sse.send([unexpected_error(request, error).body()])
    return sse.response


async def _write(
    sse: SseWriter, stream: TokenStream, form: ChunkForm, piece: Piece | None, ping_seconds: float
) -> None:
    while True:
        if piece is None:
            await sse.ping()
        else:
            await sse.send(form.chunks(piece))
            if piece.finish_reason is not None:
                await sse.done()
                return
        piece = await stream.next(ping_seconds)
