"""Intake: the threads that load the model, then convert messages to engine requests."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeAlias

from msgspec.structs import replace

from llamabind.chat.render_limit import RenderLimit, limited
from llamabind.errors import LlamaError
from llamabind.generation.prompt_requests import PromptRequests
from server.protocol.loading import Estimate, Estimated, Load, LoadFailed
from server.protocol.messages import Answered, Ask, Prepared, Stats, Submit
from server.protocol.tasks import RestoreSlot, SaveSlot, TaskResult
from server.worker.engines.engine_interface import EngineLoader, EstimateMaker, WorkerEngine
from server.worker.session.heartbeat import Heartbeat
from server.worker.session.lane import Lane
from server.worker.session.load_failure import load_failure
from server.worker.session.refusals import internal_error, prompt_param, refusal, text_param
from server.worker.session.reporter import EngineReporter
from server.worker.session.sender import FrameSender
from server.worker.session.workload import has_media, n_characters

logger = logging.getLogger(__name__)

EXIT_LOAD_FAILED = 3
_LONG_CHARACTERS = 1 << 16
# The most seconds that a prompt may take to render and tokenise; 100,000 tokens take less than one.
_PROMPT_SECONDS = 10.0
# A prompt inside a native call that checks no deadline is answered this much later.
_GRACE_SECONDS = 2.0
_N_THREADS = 4
_N_LONG_THREADS = 2

Message: TypeAlias = Load | Estimate | Submit | Ask


class Intake:
    """Processes messages that the reader thread received, in three lanes of threads.

    Long texts and slot files have a separate lane, so that they do not delay short requests; so
    have images and audio, which take seconds to encode. A prompt that is not rendered and tokenised
    within 10 seconds is refused, and a cancelled one is given up. If a native call never returns,
    its thread is lost: `stats` counts it, and the server ends this process once it has no requests,
    or after --stall-seconds in which no request was prepared. `put`, `cancel` and `stats` are for
    the reader thread, which must not wait for a long prompt.
    """

    def __init__(
        self,
        sender: FrameSender,
        reporter: EngineReporter,
        load_engine: EngineLoader,
        estimate: EstimateMaker,
    ) -> None:
        """`reporter` gets the engine's events; its `answers` map outputs to requests."""
        self.engine: WorkerEngine | None = None
        self._sender = sender
        self._reporter = reporter
        self._answers = reporter.answers
        self._load_engine = load_engine
        self._estimate = estimate
        # Requests that were not passed to the engine yet, with the limits of their prompts;
        # cancelling one removes it from here.
        self._waiting: dict[str, RenderLimit] = {}
        # The messages that a thread is processing.
        self._taken: dict[RenderLimit, Submit | Ask] = {}
        self._lock = threading.Lock()
        self._lane = Lane("intake", self._process, _N_THREADS, self._is_wanted)
        self._long_lane = Lane("long intake", self._process, _N_LONG_THREADS, self._is_wanted)
        # One medium at a time: encoding uses all threads of the CPU.
        self._media_lane = Lane("media intake", self._process, 1, self._is_wanted)

    def stats(self) -> Stats | None:
        """The engine's figures, with the requests that wait here; None before the load."""
        if self.engine is None:
            return None
        lanes = (self._lane, self._long_lane, self._media_lane)
        stalled = max(lane.stalled_seconds for lane in lanes)
        with self._lock:
            n_waiting = len(self._waiting)
            n_stuck = sum(limit.is_overdue(_GRACE_SECONDS) for limit in self._taken)
        stats = self.engine.stats()
        return replace(
            stats,
            waiting=stats.waiting + n_waiting,
            intake_stalled_seconds=stalled,
            intake_stuck=n_stuck,
        )

    def put(self, message: Message) -> None:
        """Queue a message from the server."""
        if isinstance(message, Submit | Ask):
            with self._lock:
                self._waiting[message.request_id] = RenderLimit(_PROMPT_SECONDS)
        lane = self._lane
        if has_media(message):
            lane = self._media_lane
        elif n_characters(message) > _LONG_CHARACTERS or _moves_files(message):
            lane = self._long_lane
        lane.put(message, message.job.caller if isinstance(message, Submit) else "")

    def cancel(self, request_id: str) -> None:
        """Cancel a request, whether it is waiting here or in the engine."""
        with self._lock:
            limit = self._waiting.pop(request_id, None)
        if limit is not None:
            limit.stop.set()
            return
        self._cancel_in_engine(request_id)

    def pause(self, request_id: str) -> None:
        """Have the engine compute nothing for a request until `resume`."""
        self._tell_engine(request_id, lambda engine, engine_id: engine.pause(engine_id))

    def keep_prefixes(self, seconds: float) -> None:
        """Write prefixes to files before the process ends."""
        if self.engine is not None:
            self.engine.keep_prefixes(seconds)

    def resume(self, request_id: str) -> None:
        """Have the engine continue a paused request."""
        self._tell_engine(request_id, lambda engine, engine_id: engine.resume(engine_id))

    def _process(self, message: Message) -> None:
        match message:
            case Load() as load:
                self._load(load)
            case Estimate():
                self._answer_estimate(message)
            case Submit() | Ask():
                with self._lock:
                    limit = self._waiting.get(message.request_id)
                    if limit is None:
                        return  # cancelled
                    self._taken[limit] = message
                try:
                    with limited(limit):
                        self._answer(message)
                finally:
                    with self._lock:
                        del self._taken[limit]

    def _answer(self, message: Submit | Ask) -> None:
        if isinstance(message, Submit):
            self._take(message)
        else:
            self._perform(message)

    # -- loading

    def _load(self, load: Load) -> None:
        try:
            self.engine = self._load_engine(load, self._reporter.events)
        except Exception as error:
            # Bugs too: the server waits for a reply, and other loads wait for this one.
            if not isinstance(error, LlamaError):
                logger.exception("internal error while loading")
            self._sender.send(load_failure(error))
            self._sender.close()
            os._exit(EXIT_LOAD_FAILED)
        self._reporter.attach(self.engine)
        self._sender.send(self.engine.describe())
        Heartbeat(self._beat, self._sender).start()

    def _answer_estimate(self, message: Estimate) -> None:
        try:
            answer: Estimated | LoadFailed = self._estimate(message)
        except Exception as error:
            if not isinstance(error, LlamaError):
                logger.exception("internal error while estimating")
            answer = load_failure(error)
        self._sender.send(answer)
        if isinstance(answer, LoadFailed):
            self._sender.close()
            os._exit(EXIT_LOAD_FAILED)

    # -- requests

    def _beat(self) -> Stats | None:
        self._refuse_overdue()
        return self.stats()

    def _refuse_overdue(self) -> None:
        """Answer requests whose prompts a native call keeps beyond the deadline."""
        with self._lock:
            overdue = {
                limit: message
                for limit, message in self._taken.items()
                if limit.is_overdue(_GRACE_SECONDS) and message.request_id in self._waiting
            }
            for message in overdue.values():
                del self._waiting[message.request_id]
        for limit, message in overdue.items():
            limit.stop.set()
            if isinstance(message, Submit):
                param = prompt_param(message.job)
            else:
                param = text_param(message.task)
            self._sender.send(refusal(message.request_id, limit.error(), param))

    def _take(self, message: Submit) -> None:
        assert self.engine is not None, "the server sends Submit after the load only"
        try:
            prompt = self.engine.prepare(message.job)
            # Before the engine gets the request, since its first output may follow at once.
            self._sender.send(Prepared(message.request_id, prompt.warnings))
            if self._is_waiting(message.request_id):
                self._start(message, prompt, self.engine)
        except LlamaError as error:
            job = message.job
            self._sender.send(
                refusal(message.request_id, error, prompt_param(job), job.grammar_param)
            )
        except Exception as error:
            # Bugs too: the server waits for outputs or a refusal.
            logger.exception("request %s: internal error before its start", message.request_id)
            self._sender.send(internal_error(message.request_id, error))
        self._stop_waiting(message.request_id)

    def _start(self, message: Submit, prompt: PromptRequests, engine: WorkerEngine) -> None:
        """Start all answers, or none."""
        self._answers.open(message, prompt, engine.piece)
        for index, request in enumerate(prompt.requests):
            try:
                engine.submit(request)
            except BaseException:
                self._cancel_in_engine(message.request_id)
                self._answers.drop(late.request_id for late in prompt.requests[index:])
                raise

    def _perform(self, message: Ask) -> None:
        request_id = message.request_id
        assert self.engine is not None, "the server sends Ask after the load only"
        try:
            result = self.engine.perform(message.task)
        except LlamaError as error:
            self._sender.send(refusal(request_id, error, text_param(message.task)))
        except Exception as error:
            logger.exception("request %s: the task failed", request_id)
            self._sender.send(internal_error(request_id, error))
        else:
            if isinstance(result, Future):
                result.add_done_callback(lambda done: self._answer_later(request_id, done))
            else:
                self._sender.send(Answered(request_id, result))
        with self._lock:
            self._waiting.pop(request_id, None)

    def _answer_later(self, request_id: str, done: Future[TaskResult]) -> None:
        error = done.exception()
        if error is None:
            self._sender.send(Answered(request_id, done.result()))
        elif isinstance(error, LlamaError):
            self._sender.send(refusal(request_id, error))
        else:
            logger.error("request %s: the task failed", request_id, exc_info=error)
            self._sender.send(internal_error(request_id, error))

    def _is_wanted(self, message: Message) -> bool:
        return isinstance(message, Submit | Ask) and self._is_waiting(message.request_id)

    def _is_waiting(self, request_id: str) -> bool:
        with self._lock:
            return request_id in self._waiting

    def _stop_waiting(self, request_id: str) -> None:
        """From now on a cancel goes to the engine; pass on one that arrived before."""
        with self._lock:
            was_cancelled = self._waiting.pop(request_id, None) is None
        if was_cancelled:
            self._cancel_in_engine(request_id)

    def _cancel_in_engine(self, request_id: str) -> None:
        self._tell_engine(request_id, lambda engine, engine_id: engine.cancel(engine_id))

    def _tell_engine(self, request_id: str, tell: Callable[[WorkerEngine, str], None]) -> None:
        # An engine that has stopped has ended all its requests.
        with contextlib.suppress(LlamaError):
            for engine_id in self._answers.engine_ids(request_id):
                if self.engine is not None:
                    tell(self.engine, engine_id)


def _moves_files(message: Message) -> bool:
    return isinstance(message, Ask) and isinstance(message.task, SaveSlot | RestoreSlot)
