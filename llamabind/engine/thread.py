"""EngineThread: runs an engine on one thread and takes requests from any thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from llamabind.errors import EngineStoppedError, HandleClosedError
from llamabind.system.close_guard import CloseGuard
from llamabind.system.command_thread import CommandThread, StopThread

if TYPE_CHECKING:
    from llamabind.engine.core import EngineCore
    from llamabind.engine.stats import EngineStats
    from llamabind.request import GenerationRequest, RequestOutput
    from llamabind.system.command_thread import Commands

logger = logging.getLogger(__name__)

EngineT = TypeVar("EngineT", bound="EngineCore")
ResultT = TypeVar("ResultT")
OnStep = Callable[[list["RequestOutput"]], None]
OnFailure = Callable[[BaseException], None]

_CLOSED = "the engine is closed or has failed"


class EngineThread(CommandThread[EngineT]):
    """Runs an engine's steps on a thread of its own while there is work.

    `on_step` is called on that thread after each step, with the outputs of all requests; it must
    not block. If a step raises, `on_failure` is called once, every live request gets an output with
    FinishReason.ERROR, and the thread ends. All methods may be called from any thread.
    """

    def __init__(
        self, engine: EngineT, on_step: OnStep, on_failure: OnFailure | None = None
    ) -> None:
        self._engine = engine
        self._close_guard = CloseGuard("engine")
        super().__init__("engine", partial(_run, engine, on_step, on_failure), _CLOSED)

    @property
    def stats(self) -> EngineStats:
        """The engine's figures after its latest step."""
        return self._engine.stats

    def submit(self, request: GenerationRequest) -> None:
        """Start a request; `on_step` gets its outputs.

        Raises PromptTooLongError, InvalidParameterError or GrammarError before anything is queued,
        and EngineStoppedError.
        """
        try:
            # The engine may be freed once close() has returned, so close() waits for this block.
            with self._close_guard.entered():
                self._engine.prepare(request)
                self._send(lambda engine: engine.add(request))
        except HandleClosedError:
            raise EngineStoppedError(_CLOSED) from None

    def cancel(self, request_id: str) -> None:
        """End a request at the next step; it still gets its last output."""
        self._send(lambda engine: engine.cancel(request_id))

    def pause(self, request_id: str) -> None:
        """Compute nothing for a request from the next step on, until `resume`."""
        self._send(lambda engine: engine.pause(request_id))

    def resume(self, request_id: str) -> None:
        """Continue a paused request."""
        self._send(lambda engine: engine.resume(request_id))

    def call(self, work: Callable[[EngineT], ResultT]) -> Future[ResultT]:
        """Call `work` on the engine's thread between two steps; requests wait until it returns.

        The future gets its result or its exception. Raises EngineStoppedError.
        """
        future: Future[ResultT] = Future()
        self._send(partial(_settle, future, work))
        return future

    def close(self, timeout: float | None = None) -> bool:
        """Cancel all requests, deliver the last outputs and join the thread.

        False if the thread did not end within `timeout` seconds.
        """
        self._close_guard.close()
        return super().close(timeout)


def _settle(future: Future[ResultT], work: Callable[[EngineT], ResultT], engine: EngineT) -> None:
    try:
        future.set_result(work(engine))
    except Exception as error:  # noqa: BLE001 - passed on to the reader of the future
        future.set_exception(error)


def _run(
    engine: EngineT,
    on_step: OnStep,
    on_failure: OnFailure | None,
    commands: Commands[EngineT],
    mark_stopped: Callable[[], None],
) -> None:
    try:
        while True:
            # Without work, wait for a command; with work, run only the commands already queued.
            while not engine.has_work or not commands.empty():
                commands.get()(engine)
            _deliver(on_step, engine.step())
    except StopThread:
        _deliver(on_step, engine.abort_all())
    except BaseException as error:
        # Whatever the error is, every live request must end.
        logger.exception("the engine failed")
        mark_stopped()
        if on_failure is not None:
            on_failure(error)
        _drain(engine, commands)
        _deliver(on_step, engine.fail_all(f"{type(error).__name__}: {error}"))


def _drain(engine: EngineT, commands: Commands[EngineT]) -> None:
    """Run the commands that are still queued, so that the requests they add are ended as well."""
    while not commands.empty():
        try:
            commands.get()(engine)
        except StopThread:
            return


def _deliver(on_step: OnStep, outputs: list[RequestOutput]) -> None:
    if outputs:
        on_step(outputs)
