"""The server's log: plain lines, or one JSON object per line."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

from server.config import ServerConfig

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def start_logging(config: ServerConfig) -> None:
    """Log to `config.log_file` or stderr. Raises OSError if the file cannot be opened."""
    handler = (
        logging.FileHandler(config.log_file, encoding="utf-8")
        if config.log_file
        else logging.StreamHandler(sys.stderr)
    )
    handler.setFormatter(JsonFormatter() if config.log_jsonl else logging.Formatter(_TEXT))
    logging.basicConfig(level=config.log_level.upper(), handlers=[handler])


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
