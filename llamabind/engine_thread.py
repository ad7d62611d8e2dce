"""The door to an engine: any thread submits, one thread steps."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from llamabind.errors import EngineStoppedError

if TYPE_CHECKING:
    from llamabind.engine_core import EngineCore, EngineStats
    from llamabind.request import GenerationRequest, RequestOutput

logger = logging.getLogger(__name__)

OnStep = Callable[[list["RequestOutput"]], None]
OnFailure = Callable[[BaseException], None]
_Command = Callable[["EngineCore"], None]

_EXIT_SECONDS: Final = 30.0


class _StopThread(Exception):  # noqa: N818 - a signal, not an error
    """Raised by the command that ends the loop."""


class EngineThread:
    """Steps an engine on a thread of its own while there is work.

    `on_step` is called on that thread once per step, with the outputs of all requests; it must not
    block. If a step raises, every live request gets an output with FinishReason.ERROR, then
    `on_failure` is called once and the thread ends. All methods may be called from any thread.
    """

    def __init__(
        self, engine: EngineCore, on_step: OnStep, on_failure: OnFailure | None = None
    ) -> None:
        self._engine = engine
        self._commands: SimpleQueue[_Command] = SimpleQueue()
        self._lock = threading.Lock()
        self._stopped = False
        self._pid = os.getpid()
        self._thread = threading.Thread(
            target=_run,
            args=(engine, self._commands, on_step, self._on_end(on_failure)),
            name="engine",
            daemon=True,
        )
        self._thread.start()
        # Native code that still computes while the process exits is a segmentation fault.
        weakref.finalize(self, end_at_exit, self._thread, self._commands, _stop)

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on this thread, where waiting for an output would never end."""
        return threading.current_thread() is self._thread

    @property
    def stats(self) -> EngineStats:
        """The snapshot after the latest step."""
        return self._engine.stats

    def submit(self, request: GenerationRequest) -> None:
        """Start a request; its outputs come through `on_step`.

        Raises PromptTooLongError, InvalidParameterError or GrammarError before anything is queued,
        and EngineStoppedError.
        """
        self._engine.prepare(request)
        self._send(lambda engine: engine.add(request))

    def cancel(self, request_id: str) -> None:
        """End a request at the next step; it still gets its last output."""
        self._send(lambda engine: engine.cancel(request_id))

    def close(self, timeout: float | None = None) -> bool:
        """Cancel what runs, deliver the last outputs and join the thread; False if it did not end
        in `timeout`.
        """
        with self._lock:
            if not self._stopped:
                self._stopped = True
                self._commands.put(_stop)
        if not self.is_current:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _send(self, command: _Command) -> None:
        if os.getpid() != self._pid:
            raise EngineStoppedError("a forked process has no engine: load the model in it")
        with self._lock:
            if self._stopped:
                raise EngineStoppedError("the engine is closed or has failed")
            self._commands.put(command)

    def _on_end(self, on_failure: OnFailure | None) -> OnFailure:
        def mark_stopped(error: BaseException) -> None:
            with self._lock:
                self._stopped = True
            if on_failure is not None:
                on_failure(error)

        return mark_stopped


def _stop(_engine: EngineCore) -> None:
    raise _StopThread


def end_at_exit(thread: threading.Thread, commands: SimpleQueue[Any], stop: object) -> None:
    """Have a thread end itself, for weakref.finalize."""
    commands.put(stop)
    thread.join(_EXIT_SECONDS)


def _run(
    engine: EngineCore, commands: SimpleQueue[_Command], on_step: OnStep, on_failure: OnFailure
) -> None:
    """Loop of the thread: it gets no more than it needs, so that it cannot touch the rest of the
    object.
    """
    try:
        while True:
            # Without work wait for a command; with work take what is there and go on.
            while not engine.has_work or not commands.empty():
                commands.get()(engine)
            _deliver(on_step, engine.step())
    except _StopThread:
        _deliver(on_step, engine.abort_all())
    except BaseException as error:
        # Every waiter must be answered, whatever broke.
        logger.exception("the engine failed")
        # NOTE: mark first, so that nobody is queued after the last drain.
        on_failure(error)
        _drain(engine, commands)
        _deliver(on_step, engine.fail_all(f"{type(error).__name__}: {error}"))


def _drain(engine: EngineCore, commands: SimpleQueue[_Command]) -> None:
    """Carry out commands that came before the failure, so that their requests are answered too."""
    while not commands.empty():
        try:
            commands.get()(engine)
        except _StopThread:
            return


def _deliver(on_step: OnStep, outputs: list[RequestOutput]) -> None:
    if outputs:
        on_step(outputs)
