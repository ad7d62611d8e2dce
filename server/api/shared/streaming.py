"""stream_answer: writes one generation to the client as it is computed, in any dialect."""

import asyncio
import contextlib
import logging
import math
import time
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
from server.protocol.outputs import SequenceOutput
from server.streams.pending_output import size_of
from server.streams.token_stream import OutputSink, TokenUsage

logger = logging.getLogger(__name__)

_SMALL = 2048
"""By size_of(), the largest output that is written without waiting: as JSON far below the limit."""


class AnswerWriter(Protocol):
    """Writes documents to a client: an SseWriter or an NdjsonWriter."""

    @property
    def response(self) -> web.StreamResponse:
        """The response that is being written."""

    async def send(self, documents: Iterable[Any]) -> None:
        """Write documents."""

    def encode(self, documents: Iterable[Any]) -> bytes:
        """The bytes that `send` writes."""

    @property
    def is_clear(self) -> bool:
        """Whether `write_now` may be called."""

    def write_now(self, data: bytes) -> None:
        """Write a few bytes without awaiting."""

    async def ping(self) -> None:
        """Send bytes that clients ignore, so that no proxy closes the idle connection."""

    async def finish(self) -> None:
        """End the stream of a complete answer."""


class AnswerStream(Protocol):
    """Yields outputs as they are computed: a TokenStream or a MergedStream."""

    @property
    def usage(self) -> TokenUsage:
        """The token counts of the outputs that have arrived."""

    @property
    def is_done(self) -> bool:
        """Whether all outputs have been read."""

    async def next(
        self, timeout_seconds: float | None = None, sink: OutputSink | None = None
    ) -> SequenceOutput | None:
        """The next output of one answer; None if none arrives within `timeout_seconds`.

        While it waits, `sink` may take outputs.
        """


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

    The headers are held for the first output, at most --header-hold-seconds, so that an earlier
    error is a plain JSON answer with its status. A later error is an event, or the documents that
    `failure` makes of it, and the stream ends without [DONE]. While there is no output, a comment
    is sent every `ping_interval` seconds; None means --ping-seconds, less than 1 disables it.
    """
    config = request.app[CONFIG]
    failure_form = failure or partial(_error_event, request)
    first = await stream.next(config.header_hold_seconds)
    writer = await open_writer(request)
    try:
        ping_seconds = _ping_seconds(ping_interval, config.ping_seconds)
        await _write(writer, stream, form, first, ping_seconds)
        await writer.finish()
    except ConnectionResetError:
        logger.debug("request %s: the client disconnected", request[REQUEST_ID])
    except ApiError as error:
        await _send_failure(writer, failure_form, error)
    except Exception as error:
        logger.exception("request %s failed in mid-stream", request[REQUEST_ID])
        await _send_failure(writer, failure_form, unexpected_error(request, error))
    return writer.response


async def _send_failure(writer: AnswerWriter, failure: FailureForm, error: ApiError) -> None:
    with contextlib.suppress(ConnectionResetError):
        await writer.send(failure(error))


def _error_event(request: web.Request, error: ApiError) -> list[Any]:
    return [error_document(request, error)]


async def _write(
    writer: AnswerWriter,
    stream: AnswerStream,
    form: ChunkForm,
    output: SequenceOutput | None,
    ping_seconds: float | None,
) -> None:
    sink = _DirectSink(writer, form)
    while True:
        if output is not None:
            await writer.send(form.chunks(output))
            sink.written_at = time.monotonic()
            if output.packed_logprobs:
                # These take long to write, and the next one may be there: let other requests run.
                await asyncio.sleep(0)
        elif not sink.seconds_left(ping_seconds):
            await writer.ping()
            sink.written_at = time.monotonic()
        if stream.is_done:
            await writer.send(form.ending(stream.usage))
            return
        output = await stream.next(sink.seconds_left(ping_seconds), sink)
        if sink.failure is not None:
            raise sink.failure


class _DirectSink:
    """Writes small outputs where they arrive, without waking the handler.

    Waking it for each token costs as much as writing the token. `failure` is for the handler, which
    gets the output that could not be written.
    """

    def __init__(self, writer: AnswerWriter, form: ChunkForm) -> None:
        self._writer = writer
        self._form = form
        self.written_at = -math.inf
        self.failure: Exception | None = None

    def seconds_left(self, ping_seconds: float | None) -> float | None:
        """Return the time until nothing has been written for `ping_seconds`; None without pings."""
        if ping_seconds is None:
            return None
        return max(0.0, self.written_at + ping_seconds - time.monotonic())

    def __call__(self, output: SequenceOutput) -> bool:
        if output.packed_logprobs or size_of(output) > _SMALL or not self._writer.is_clear:
            return False
        try:
            if data := self._writer.encode(self._form.chunks(output)):
                self._writer.write_now(data)
        except Exception as error:  # noqa: BLE001 - the handler raises it
            self.failure = error
            return False
        self.written_at = time.monotonic()
        return True


def _ping_seconds(requested: int | None, configured: float) -> float | None:
    if requested is None:
        return configured
    return requested if requested > 0 else None
