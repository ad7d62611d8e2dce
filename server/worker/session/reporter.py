"""EngineReporter: sends the server what the engine reports, from the load to its failure."""

import os
import threading
from collections.abc import Sequence

from llamabind import RequestOutput
from server.protocol.messages import EngineDown, Progress
from server.worker.engines.answer_reader import AnswerReaders
from server.worker.engines.engine_interface import EngineEvents, WorkerEngine
from server.worker.session.sender import FrameSender

EXIT_ENGINE_FAILED = 4


class EngineReporter:
    """The engine's callbacks. They come on the engine's threads and only queue messages.

    `answers` turns the engine's outputs into those of the requests that were opened there.
    """

    def __init__(self, sender: FrameSender) -> None:
        self.answers = AnswerReaders()
        self._sender = sender
        self._engine: WorkerEngine | None = None

    @property
    def events(self) -> EngineEvents:
        """What an engine is loaded with."""
        return EngineEvents(self._send_progress, self._send_step, self._leave_failed)

    def attach(self, engine: WorkerEngine) -> None:
        """Remember the loaded engine: it is closed if it fails."""
        self._engine = engine

    def _send_progress(self, fraction: float) -> None:
        self._sender.send(Progress(fraction))

    def _send_step(self, outputs: Sequence[RequestOutput]) -> None:
        # Parsing on the engine's thread would delay its next step.
        self._sender.send(lambda: self.answers.read(outputs))

    def _leave_failed(self, error: BaseException) -> None:
        """Leave on another thread: the engine delivers its last outputs after this call."""
        self._sender.send(EngineDown(f"the engine failed: {type(error).__name__}: {error}"))
        threading.Thread(target=self._leave, name="leave").start()

    def _leave(self) -> None:
        if self._engine is not None:
            self._engine.close()
        self._sender.close()
        os._exit(EXIT_ENGINE_FAILED)
