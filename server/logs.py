"""The server's log: plain lines, or one JSON object per line."""

import logging
import os
import sys
import threading
from datetime import UTC, datetime
from typing import Any

import msgspec

from server.config import ServerConfig
from server.log_writer import LogWriter

logger = logging.getLogger(__name__)
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def start_logging(config: ServerConfig) -> None:
    """Log to `config.log_file` or stderr. Raises OSError if the file cannot be opened.

    Python's own reports go to the log too: printed to stderr, they could block the event loop.
    """
    handler = _handler(config)
    handler.setFormatter(JsonFormatter() if config.log_jsonl else logging.Formatter(_TEXT))
    logging.basicConfig(level=config.log_level.upper(), handlers=[handler])
    logging.captureWarnings(True)
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread_failure


def _handler(config: ServerConfig) -> logging.Handler:
    if config.log_file:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return LogWriter(os.open(config.log_file, flags, 0o666))
    # Python has no sys.stderr if the process was started with descriptor 2 closed.
    return LogWriter(sys.stderr.fileno()) if sys.stderr is not None else logging.NullHandler()


def stop_logging() -> None:
    """Write the lines that are queued, for at most a second."""
    for writer in _writers():
        writer.close()


def n_dropped_lines() -> int:
    """Number of log lines that were dropped because their reader was too slow or failed."""
    return sum(writer.n_dropped for writer in _writers())


def _writers() -> list[LogWriter]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, LogWriter)]


def _log_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    error = unraisable.exc_value
    logger.error("exception ignored in %r", unraisable.object, exc_info=error)


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    name = failure.thread.name if failure.thread else "?"
    logger.error("thread %s failed", name, exc_info=failure.exc_value)


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object: time, level, logger, message and the record's `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without its line break."""
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        document |= getattr(record, "fields", {})
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(document).decode()
