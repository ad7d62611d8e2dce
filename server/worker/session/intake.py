"""Intake: the threads that load the model, then turn conversations into engine requests."""

import contextlib
import logging
import os
import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeAlias

from llamabind.errors import LlamaError
from llamabind.generation.prompter import PromptRequests
from server.protocol.messages import (
    Answered,
    Ask,
    Estimate,
    Estimated,
    Load,
    LoadFailed,
    Submit,
    Warned,
)
from server.protocol.tasks import RestoreSlot, SaveSlot, TaskResult
from server.worker.engines.engine_interface import EngineLoader, EstimateMaker, WorkerEngine
from server.worker.session.heartbeat import Heartbeat
from server.worker.session.load_failure import load_failure
from server.worker.session.refusals import bug, prompt_param, refusal, text_param
from server.worker.session.reporter import EngineReporter
from server.worker.session.sender import FrameSender
from server.worker.session.workload import has_media, n_characters

logger = logging.getLogger(__name__)

EXIT_LOAD_FAILED = 3
_LONG_CHARACTERS = 1 << 16

Message: TypeAlias = Load | Estimate | Submit | Ask


class Intake:
    """Takes what the reader thread got from the server, one after the other, on its own thread.

    Long texts and slot files have a thread where they hold up nobody but each other, and so have
    pictures and sounds, which take seconds to encode. `cancel` and
    `engine` are for the reader thread, which must not wait for a long prompt.
    """

    def __init__(
        self,
        sender: FrameSender,
        reporter: EngineReporter,
        load_engine: EngineLoader,
        estimate: EstimateMaker,
    ) -> None:
        """`reporter` gets what the engine reports; requests and their answers meet in it."""
        self.engine: WorkerEngine | None = None
        self._sender = sender
        self._reporter = reporter
        self._answers = reporter.answers
        self._load_engine = load_engine
        self._estimate = estimate
        self._queue: SimpleQueue[Message] = SimpleQueue()
        self._long_queue: SimpleQueue[Message] = SimpleQueue()
        self._media_queue: SimpleQueue[Message] = SimpleQueue()
        # Requests between the reader and the engine; a cancel meets them here or there.
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
        """Take a message from the server."""
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
        """Forget a request, wherever it is."""
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
            # A bug of ours, too: the server waits for an answer, and a load holds up others.
            if not isinstance(error, LlamaError):
                logger.exception("the load failed unexpectedly")
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
                logger.exception("the estimate failed unexpectedly")
            answer = load_failure(error)
        self._sender.send(answer)
        self._sender.close()
        os._exit(0 if isinstance(answer, Estimated) else EXIT_LOAD_FAILED)

    # -- requests

    def _take(self, message: Submit) -> None:
        if not self._is_waiting(message.request_id):
            return
        assert self.engine is not None, "the server submits after the load"
        try:
            prompt = self.engine.prepare(message.job)
            if prompt.warnings:
                # Before the engine has it: its first output may be sent at any time after that.
                self._sender.send(Warned(message.request_id, prompt.warnings))
            if self._is_waiting(message.request_id):
                self._start(message, prompt, self.engine)
        except LlamaError as error:
            job = message.job
            self._sender.send(
                refusal(message.request_id, error, prompt_param(job), job.grammar_param)
            )
        except Exception as error:
            # The server waits for outputs or a refusal, also when the bug is ours.
            logger.exception("request %s: the intake failed", message.request_id)
            self._sender.send(bug(message.request_id, error))
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
        assert self.engine is not None, "the server asks after the load"
        try:
            result = self.engine.perform(message.task)
        except LlamaError as error:
            self._sender.send(refusal(request_id, error, text_param(message.task)))
        except Exception as error:
            logger.exception("request %s: the task failed", request_id)
            self._sender.send(bug(request_id, error))
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
            self._sender.send(bug(request_id, error))

    def _is_waiting(self, request_id: str) -> bool:
        with self._lock:
            return request_id in self._waiting

    def _stop_waiting(self, request_id: str) -> None:
        """From here on a cancel goes to the engine; one that came before has yet to."""
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
