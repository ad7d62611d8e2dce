"""serve: runs a worker process from its Hello to its exit."""

import contextlib
import ctypes  # noqa: TID251 - prctl, which Python does not offer
import faulthandler
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import NoReturn

from server.protocol.framing import FrameReader, FramingError
from server.protocol.loading import Estimate, Load
from server.protocol.messages import (
    PROTOCOL_VERSION,
    Ask,
    Cancel,
    GetStats,
    Hello,
    Pause,
    Resume,
    Retire,
    Submit,
    ToWorker,
)
from server.worker.engines.engine_interface import EngineLoader, EstimateMaker
from server.worker.session.intake import Intake
from server.worker.session.reporter import EngineReporter
from server.worker.session.sender import FrameSender

logger = logging.getLogger(__name__)

EXIT_BAD_PROTOCOL = 5
EXIT_THREAD_DIED = 6
_READ_BYTES = 1 << 16
# Linux's out-of-memory killer ends the process with the highest score: make that a worker, not the
# server.
_OOM_SCORE = "500"
_TITLE_LENGTH = 15
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def serve(
    connection: socket.socket, load_engine: EngineLoader, estimate: EstimateMaker
) -> NoReturn:
    """Read the server's messages on this thread until the socket is closed, then exit at once.

    The reader does nothing that takes long, so that it notices the end of the server even while
    other threads run native code.
    """
    connection.set_inheritable(False)
    # Ctrl-C in a terminal, and the terminal's end, reach the whole process group; only the server
    # handles them, so that running answers can finish.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable()
    threading.excepthook = _exit_after_thread_error
    _set_process_facts()
    status = EXIT_BAD_PROTOCOL
    try:
        sender = FrameSender(connection)
        intake = Intake(sender, EngineReporter(sender), load_engine, estimate)
        _read(connection, sender, intake)
        status = 0
    except FramingError:
        logger.exception("the server sent invalid protocol data")
    except BaseException:
        # Such as a thread that cannot be started; the server reads the reason from this log.
        logger.exception("internal error")
        status = EXIT_THREAD_DIED
    finally:
        # Not sys.exit: native threads may be computing, and the system frees all memory anyway.
        os._exit(status)


def _exit_after_thread_error(failed: threading.ExceptHookArgs) -> None:
    """Exit the process after an uncaught exception in a thread.

    Without that thread its requests would wait forever; the server starts a new worker instead.
    """
    name = failed.thread.name if failed.thread else "unknown"
    error = failed.exc_value or failed.exc_type()
    logger.critical("internal error in thread %s", name, exc_info=error)
    os._exit(EXIT_THREAD_DIED)


def _read(connection: socket.socket, sender: FrameSender, intake: Intake) -> None:
    sender.send(Hello(PROTOCOL_VERSION, os.getpid()))
    frames: FrameReader[ToWorker] = FrameReader(ToWorker)
    while data := _receive(connection):
        for message in frames.feed(data):
            _handle(message, intake, sender)


def _handle(message: ToWorker, intake: Intake, sender: FrameSender) -> None:
    match message:
        case Load(path) | Estimate(path):
            _set_title(Path(path).stem)
            intake.put(message)
        case Submit() | Ask():
            intake.put(message)
        case Cancel(request_id):
            intake.cancel(request_id)
        case Pause(request_id):
            intake.pause(request_id)
        case Resume(request_id):
            intake.resume(request_id)
        case Retire(seconds):
            # On a thread, so that this one notices the end of the server meanwhile.
            threading.Thread(target=_retire, args=(intake, sender, seconds), daemon=True).start()
        case GetStats():
            if (stats := intake.stats()) is not None:
                sender.send(stats)


def _retire(intake: Intake, sender: FrameSender, seconds: float) -> None:
    try:
        intake.keep_prefixes(seconds)
    except Exception:
        logger.exception("internal error while prefixes were written")
    sender.close()
    os._exit(0)


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(_READ_BYTES)
    except ConnectionError:
        return b""


def _set_process_facts() -> None:
    _exit_with_the_server()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)


def _exit_with_the_server() -> None:
    """Have the kernel kill this process when the server ends. Linux only.

    The closed socket ends it too, but not while a debugger or SIGSTOP holds the process.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _set_title(name: str) -> None:
    """Show the model's name in ps and top. Linux only."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(f"llb {name}"[:_TITLE_LENGTH])
