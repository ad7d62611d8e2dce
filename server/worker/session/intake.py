"""Intake: the threads that load the model, then convert messages to engine requests."""

import contextlib
import logging
import os
import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeAlias

from llamabind.errors import LlamaError
from llamabind.generation.prompt_requests import PromptRequests
from server.protocol.loading import Estimate, Estimated, Load, LoadFailed
from server.protocol.messages import Answered, Ask, Prepared, Submit
from server.protocol.tasks import RestoreSlot, SaveSlot, TaskResult
from server.worker.engines.engine_interface import EngineLoader, EstimateMaker, WorkerEngine
from server.worker.session.heartbeat import Heartbeat
from server.worker.session.load_failure import load_failure
from server.worker.session.refusals import internal_error, prompt_param, refusal, text_param
from server.worker.session.reporter import EngineReporter
from server.worker.session.sender import FrameSender
from server.worker.session.workload import has_media, n_characters

logger = logging.getLogger(__name__)

EXIT_LOAD_FAILED = 3
_LONG_CHARACTERS = 1 << 16

Message: TypeAlias = Load | Estimate | Submit | Ask


class Intake:
    """Processes messages that the reader thread received, in order, on three threads.

    Long texts and slot files have a separate thread, so that they do not delay short requests; so
    have images and audio, which take seconds to encode. `put`, `cancel` and `engine` are for the
    reader thread, which must not wait for a long prompt.
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
        self._queue: SimpleQueue[Message] = SimpleQueue()
        self._long_queue: SimpleQueue[Message] = SimpleQueue()
        self._media_queue: SimpleQueue[Message] = SimpleQueue()
        # Requests that were not passed to the engine yet; cancelling one removes it from here.
        self._waiting: set[str] = set()
        self._lock = threading.Lock()
        queues = {
            "intake": self._queue,
            "long intake": self._long_queue,
            "media intake": self._media_queue,
        }
        for name, queue in queues.items():
            threading.Thread(target=self._run, args=(queue,), name=name, daemon=True).start()

    def put(self, message: Message) -> None:
        """Queue a message from the server."""
        if isinstance(message, Submit | Ask):
            with self._lock:
                self._waiting.add(message.request_id)
        if has_media(message):
            self._media_queue.put(message)
        elif n_characters(message) > _LONG_CHARACTERS or _moves_files(message):
            self._long_queue.put(message)
        else:
            self._queue.put(message)

    def cancel(self, request_id: str) -> None:
        """Cancel a request, whether it is waiting here or in the engine."""
        with self._lock:
            if request_id in self._waiting:
                self._waiting.remove(request_id)
                return
        self._cancel_in_engine(request_id)

    def _run(self, queue: SimpleQueue[Message]) -> None:
        while True:
            match queue.get():
                case Load() as load:
                    self._load(load)
                case Estimate() as message:
                    self._answer_estimate(message)
                case Submit() as message:
                    self._take(message)
                case Ask() as message:
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
        Heartbeat(self.engine, self._sender).start()

    def _answer_estimate(self, message: Estimate) -> None:
        try:
            answer: Estimated | LoadFailed = self._estimate(message)
        except Exception as error:
            if not isinstance(error, LlamaError):
                logger.exception("internal error while estimating")
            answer = load_failure(error)
        self._sender.send(answer)
        self._sender.close()
        os._exit(0 if isinstance(answer, Estimated) else EXIT_LOAD_FAILED)

    # -- requests

    def _take(self, message: Submit) -> None:
        if not self._is_waiting(message.request_id):
            return
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
        if not self._is_waiting(request_id):
            return
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
            self._waiting.discard(request_id)

    def _answer_later(self, request_id: str, done: Future[TaskResult]) -> None:
        error = done.exception()
        if error is None:
            self._sender.send(Answered(request_id, done.result()))
        elif isinstance(error, LlamaError):
            self._sender.send(refusal(request_id, error))
        else:
            logger.error("request %s: the task failed", request_id, exc_info=error)
            self._sender.send(internal_error(request_id, error))

    def _is_waiting(self, request_id: str) -> bool:
        with self._lock:
            return request_id in self._waiting

    def _stop_waiting(self, request_id: str) -> None:
        """From now on a cancel goes to the engine; pass on one that arrived before."""
        with self._lock:
            was_cancelled = request_id not in self._waiting
            self._waiting.discard(request_id)
        if was_cancelled:
            self._cancel_in_engine(request_id)

    def _cancel_in_engine(self, request_id: str) -> None:
        # An engine that has stopped has ended all its requests.
        with contextlib.suppress(LlamaError):
            for engine_id in self._answers.engine_ids(request_id):
                if self.engine is not None:
                    self.engine.cancel(engine_id)


def _moves_files(message: Message) -> bool:
    return isinstance(message, Ask) and isinstance(message.task, SaveSlot | RestoreSlot)
