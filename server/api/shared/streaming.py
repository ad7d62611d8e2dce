"""Writing one generation as it comes, for every dialect."""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Protocol, TypeAlias

from aiohttp import web

from server.api.shared.chunks import ChunkForm
from server.errors import ApiError
from server.http.app_keys import CONFIG, REQUEST_ID
from server.http.error_documents import error_document
from server.http.middleware import unexpected_error
from server.http.sse import SseWriter
from server.protocol.messages import SequenceOutput
from server.streams.token_stream import TokenUsage

logger = logging.getLogger(__name__)


class AnswerWriter(Protocol):
    """Writes documents to a client, in a dialect's way."""

    @property
    def response(self) -> web.StreamResponse:
        """What is written to."""

    async def send(self, documents: Iterable[Any]) -> None:
        """Write documents."""

    async def ping(self) -> None:
        """Show that the server is there still."""

    async def finish(self) -> None:
        """The end of a whole answer."""


class AnswerStream(Protocol):
    """Brings answers as they come: a TokenStream, or a MergedStream."""

    @property
    def usage(self) -> TokenUsage:
        """The counts so far."""

    @property
    def is_done(self) -> bool:
        """Whether the reader has got everything."""

    async def next(self, patience: float | None = None) -> SequenceOutput | None:
        """What is new of one answer; None when `patience` seconds brought nothing."""


OpenWriter: TypeAlias = Callable[[web.Request], Awaitable[AnswerWriter]]
FailureForm: TypeAlias = Callable[[ApiError], Iterable[Any]]


async def stream_answer(
    request: web.Request,
    stream: AnswerStream,
    form: ChunkForm,
    ping_interval: int | None = None,
    *,
    open_writer: OpenWriter = SseWriter.open,
    failure: FailureForm | None = None,
) -> web.StreamResponse:
    """Write `stream` to the client as it comes, and return the finished response.

    The headers are held back until the first text is there, so that an error before it is a plain
    JSON answer with its status; not longer than the configured time, though. After that an error is
    an event, or what `failure` makes of it, and the stream ends without [DONE]. While nothing
    comes, a comment is written every `ping_interval` seconds; None is the configured time, less
    than 1 is never.
    """
    config = request.app[CONFIG]
    tell = failure or partial(_error_event, request)
    first = await stream.next(config.header_hold_seconds)
    writer = await open_writer(request)
    try:
        ping_seconds = _ping_seconds(ping_interval, config.ping_seconds)
        await _write(writer, stream, form, first, ping_seconds)
        await writer.finish()
    except ConnectionResetError:
        logger.debug("request %s: the client has gone", request[REQUEST_ID])
    except ApiError as error:
        await _tell(writer, tell, error)
    except Exception as error:
        logger.exception("request %s failed in mid-stream", request[REQUEST_ID])
        await _tell(writer, tell, unexpected_error(request, error))
    return writer.response


async def _tell(writer: AnswerWriter, failure: FailureForm, error: ApiError) -> None:
    with contextlib.suppress(ConnectionResetError):
        await writer.send(failure(error))


def _error_event(request: web.Request, error: ApiError) -> list[Any]:
    return [error_document(request.path, error)]


async def _write(
    writer: AnswerWriter,
    stream: AnswerStream,
    form: ChunkForm,
    output: SequenceOutput | None,
    ping_seconds: float | None,
) -> None:
    while True:
        if output is None:
            await writer.ping()
        else:
            await writer.send(form.chunks(output))
        if stream.is_done:
            await writer.send(form.ending(stream.usage))
            return
        output = await stream.next(ping_seconds)


def _ping_seconds(asked: int | None, configured: float) -> float | None:
    if asked is None:
        return configured
    return asked if asked > 0 else None
