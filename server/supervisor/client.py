"""WorkerClient: the server's side of the protocol with one worker process."""

import asyncio
import contextlib
import math
from dataclasses import replace
from functools import partial
from typing import TypeVar

import msgspec

from server.errors import (
    ApiError,
    RpcServerLostError,
    UnavailableError,
    WorkerCrashedError,
    load_error,
)
from server.protocol.framing import FrameReader, FramingError, encode_frame
from server.protocol.loading import Load, LoadedModel, LoadFailed, Progress
from server.protocol.messages import (
    PROTOCOL_VERSION,
    Answered,
    Ask,
    Cancel,
    EngineDown,
    FromWorker,
    GetStats,
    Hello,
    Pause,
    Prepared,
    Refused,
    Resume,
    Retire,
    Stats,
    Step,
    Submit,
)
from server.protocol.outputs import SequenceOutput
from server.streams.token_stream import TokenStream
from server.supervisor.interface import LoadFailedError, ProgressCallback
from server.supervisor.process import WorkerExit, WorkerProcess
from server.supervisor.refusals import refusal_error
from server.supervisor.request_frames import request_frame
from server.supervisor.watchdog import Watchdog

_STATS_SECONDS = 2.0
_WATCH_SECONDS = 1.0
# A worker that must write its prefixes begins no file after the first limit; the second is the
# additional time for the file that it is writing at that moment.
KEEP_SECONDS = 10.0
_KEEP_GRACE_SECONDS = 5.0

_T = TypeVar("_T")


class WorkerClient:
    """One worker process: sends it requests, routes outputs to their streams. Event loop only."""

    def __init__(
        self,
        process: WorkerProcess,
        progress: ProgressCallback,
        silence_seconds: float = math.inf,
    ) -> None:
        """A loaded worker that sends no report for `silence_seconds` is ended if it has requests:
        those without output yet go to its successor.
        """
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[WorkerExit] = loop.create_future()
        self._loaded: asyncio.Future[LoadedModel] = loop.create_future()
        self._changed: LoadedModel | None = None
        self._process = process
        self._progress = progress
        self._streams: dict[str, TokenStream] = {}
        self._stats_waiters: list[asyncio.Future[Stats | None]] = []
        self.snapshot: Stats | None = None
        self._watchdog = Watchdog(loop.time)
        self._n_stuck = 0
        self._exit_detail = ""
        self._cause = ""
        self._stopping = False
        self._keeps_prefixes = False
        self._frames: FrameReader[FromWorker] = FrameReader(FromWorker)
        self._end_task = asyncio.create_task(self._await_end())
        self._watch_task = asyncio.create_task(self._end_if_silent(silence_seconds))
        process.connection.listen(self._take)

    @property
    def model(self) -> LoadedModel:
        """The effective settings and sizes."""
        return self._changed or self._loaded.result()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_busy(self) -> bool:
        """Whether it has requests that are not paused."""
        return any(not stream.pending.is_paused for stream in self._streams.values())

    @property
    def stalled_seconds(self) -> float:
        """Seconds without a step of a busy engine, or without a report of the process."""
        return self._watchdog.stalled_seconds(is_busy=self.is_busy)

    async def load(self, message: Load) -> None:
        """Returns once the model is loaded. Raises LoadFailedError."""
        self._send(message)
        await asyncio.shield(self._loaded)
        self._keeps_prefixes = message.prefix_files is not None

    def submit(self, message: Submit | Ask, stream: TokenStream) -> None:
        """Start a request; its outputs, its result or its refusal arrive on `stream`.

        Raises InvalidRequestError if it cannot be encoded as a frame; then nothing was sent.
        """
        if self.exited.done() or self._stopping:
            stream.lose_worker(self._exit_error())
            return
        frame, stream.warnings = request_frame(message)
        if not self.is_busy:
            self._watchdog.note_progress()
        self._streams[message.request_id] = stream
        stream.pending.on_pause = partial(self._send, Pause(message.request_id))
        stream.pending.on_resume = partial(self._resume, message.request_id)
        self._process.connection.write(frame)

    def cancel(self, request_id: str) -> None:
        """End a request; nothing more arrives on its stream."""
        stream = self._streams.pop(request_id, None)
        if stream is not None:
            stream.pending.close()
            self._send(Cancel(request_id))

    async def stats(self) -> Stats | None:
        """A new snapshot of the engine; None if the worker exits or does not answer within 2 s."""
        if self._process.connection.is_closing:
            return None
        waiter: asyncio.Future[Stats | None] = asyncio.get_running_loop().create_future()
        self._stats_waiters.append(waiter)
        self._send(GetStats())
        try:
            async with asyncio.timeout(_STATS_SECONDS):
                return await waiter
        except TimeoutError:
            return None
        finally:
            with contextlib.suppress(ValueError):
                self._stats_waiters.remove(waiter)

    async def stop(self) -> None:
        """End the process; requests in progress fail with `model_unloaded`.

        With --cache-dir it first gets 10 seconds to write its prefixes.
        """
        self._stopping = True
        if self._keeps_prefixes and not self._process.connection.is_closing:
            self._keeps_prefixes = False
            for request_id in list(self._streams):
                self._send(Cancel(request_id))
            self._end_streams()
            self._send(Retire(KEEP_SECONDS))
            closed = self._process.connection.closed
            await asyncio.wait({closed}, timeout=KEEP_SECONDS + _KEEP_GRACE_SECONDS)
        await self._process.stop()
        await asyncio.wait({self._end_task})

    def _send(self, message: msgspec.Struct) -> None:
        self._process.connection.write(encode_frame(message))

    def _resume(self, request_id: str) -> None:
        # While all requests were paused, the engine had no step to compute.
        self._watchdog.note_progress()
        self._send(Resume(request_id))

    def _take(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                self._receive(message)
        except FramingError as error:
            self._exit_detail = f"it sent invalid protocol data: {error}"
            self._process.connection.close()

    async def _await_end(self) -> None:
        await self._process.connection.closed
        # The worker exits when its socket closes; if not, stop() ends it.
        self._watch_task.cancel()
        exit_ = await self._process.stop()
        self._settle(replace(exit_, expected=self._stopping, cause=self._cause))

    async def _end_if_silent(self, limit_seconds: float) -> None:
        """End a worker that was stopped or hangs as a whole, and one that prepares no request. A
        separate thread of the worker sends reports, so they also arrive during long steps. A worker
        with a thread that never ends is ended once it has no requests.
        """
        waited = f"for {limit_seconds:g} s (--stall-seconds) while requests waited"
        while not self._cause:
            await asyncio.sleep(_WATCH_SECONDS)
            silence = self._watchdog.watch(_WATCH_SECONDS, is_busy=self.is_busy)
            if silence >= limit_seconds:
                self._cause = f"sent no report {waited}, and was ended"
            elif self.is_busy and self._watchdog.intake_seconds >= limit_seconds:
                self._cause = f"prepared no request {waited}, and was ended"
            elif self._n_stuck and not self._streams:
                self._cause = "was ended because a prompt kept a thread beyond its deadline"
        self._process.connection.close()

    def _receive(self, message: FromWorker) -> None:
        match message:
            case Step(outputs):
                self._watchdog.note_progress()
                for output in outputs:
                    self._deliver(output)
            case Refused():
                stream = self._streams.pop(message.request_id, None)
                if stream is not None:
                    stream.fail(refusal_error(message))
            case Answered(request_id, result):
                self._watchdog.note_progress()
                stream = self._streams.pop(request_id, None)
                if stream is not None:
                    stream.settle(result)
            case Stats():
                self._take_stats(message)
            case Prepared(request_id, warnings):
                if (prepared := self._streams.get(request_id)) is not None:
                    prepared.accept(warnings)
            case _:
                self._receive_state(message)

    def _take_stats(self, stats: Stats) -> None:
        self._watchdog.note_report(stats.steps_total, stats.intake_stalled_seconds)
        self._n_stuck = stats.intake_stuck
        if stats.is_report:
            self.snapshot = stats
        elif self._stats_waiters:
            _resolve(self._stats_waiters.pop(0), stats)

    def _receive_state(
        self, message: Progress | LoadedModel | LoadFailed | EngineDown | Hello
    ) -> None:
        match message:
            case Progress(fraction):
                self._progress(fraction)
            case LoadedModel() if self._loaded.done():
                self._changed = message
            case LoadedModel():
                self._watchdog.note_report(0)
                _resolve(self._loaded, message)
            case LoadFailed(reason, detail, param):
                self._fail_load(LoadFailedError(reason, detail, self._process.log_tail, param))
            case EngineDown(text):
                self._exit_detail = text
            case Hello(version, _):
                if version != PROTOCOL_VERSION:
                    raise FramingError(f"version {version}, expected {PROTOCOL_VERSION}")

    def _deliver(self, output: SequenceOutput) -> None:
        # A cancelled request has no stream any more.
        stream = self._streams.get(output.request_id)
        if stream is not None:
            stream.deliver(output)
            if stream.has_ended:
                stream.pending.close()
                del self._streams[output.request_id]
            if stream.has_failed:
                # One failed answer fails the request: cancel its other answers.
                self._send(Cancel(output.request_id))

    def _settle(self, exit_: WorkerExit) -> None:
        """The process has ended: end the load, all streams and all calls of stats()."""
        if not self.exited.done():
            self.exited.set_result(exit_)
        text = self._exit_text(exit_.load_description)
        self._fail_load(LoadFailedError(exit_.load_reason, text, exit_.log_tail, has_died=True))
        self._end_streams()
        for waiter in self._stats_waiters:
            # Not cancelled: the caller would take that for its own cancellation.
            _resolve(waiter, None)

    def _end_streams(self) -> None:
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.lose_worker(self._exit_error())

    def _fail_load(self, error: LoadFailedError) -> None:
        if not self._loaded.done():
            self._loaded.set_exception(error)
            # If the load was cancelled, asyncio would log the exception as never retrieved.
            self._loaded.exception()

    def _exit_error(self) -> ApiError:
        if self._stopping:
            text = "the model was unloaded before the answer was complete"
            return UnavailableError(text, code="model_unloaded", retry_after=1)
        if self.exited.done() and self.exited.result().reason == "unsupported_cpu":
            return load_error("unsupported_cpu", self._exit_text())
        if self.exited.done() and self.exited.result().reason == "rpc_server_lost":
            return RpcServerLostError(
                f"{self._exit_text()}; the next request loads the model again"
            )
        return WorkerCrashedError(f"{self._exit_text()}; the next request loads the model again")

    def _exit_text(self, how: str = "") -> str:
        """The predicate `how`, by default that of the worker's exit, as a sentence with details."""
        how = how or (self.exited.result().description if self.exited.done() else "is exiting")
        return f"the worker process {how}" + (f": {self._exit_detail}" if self._exit_detail else "")


def _resolve(future: asyncio.Future[_T], value: _T) -> None:
    if not future.done():
        future.set_result(value)
