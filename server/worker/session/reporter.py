"""EngineReporter: sends the engine's progress, outputs and failure to the server."""

import os
import threading
from collections.abc import Sequence

from llamabind import RequestOutput
from server.protocol.loading import Progress
from server.protocol.messages import EngineDown
from server.worker.engines.answer_reader import AnswerReaders
from server.worker.engines.engine_interface import EngineEvents, WorkerEngine
from server.worker.session.sender import FrameSender

EXIT_ENGINE_FAILED = 4


class EngineReporter:
    """The engine's callbacks. They run on the engine's threads and only queue messages.

    `answers` maps the engine's outputs to requests, which must be opened there first.
    """

    def __init__(self, sender: FrameSender) -> None:
        self.answers = AnswerReaders()
        self._sender = sender
        self._engine: WorkerEngine | None = None

    @property
    def events(self) -> EngineEvents:
        """The callbacks to load an engine with."""
        return EngineEvents(
            self._send_progress, self._send_step, self._exit_failed, self._sender.send
        )

    def attach(self, engine: WorkerEngine) -> None:
        """Set the loaded engine, which is closed if it fails."""
        self._engine = engine

    def _send_progress(self, fraction: float) -> None:
        self._sender.send(Progress(fraction))

    def _send_step(self, outputs: Sequence[RequestOutput]) -> None:
        # Parsing on the engine's thread would delay its next step.
        self._sender.send(lambda: self.answers.read(outputs))

    def _exit_failed(self, error: BaseException) -> None:
        """Exit on another thread, since the engine delivers its last outputs after this call."""
        self._sender.send(EngineDown(f"the engine failed: {type(error).__name__}: {error}"))
        threading.Thread(target=self._exit, name="exit").start()

    def _exit(self) -> None:
        if self._engine is not None:
            self._engine.close()
        self._sender.close()
        os._exit(EXIT_ENGINE_FAILED)
