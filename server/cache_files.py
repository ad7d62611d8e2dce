"""Files in the user's cache folder that a later start of the server reads: never needed, never
believed without a check.
"""

import logging
import os
import tempfile
from pathlib import Path
from typing import TypeVar

import msgspec

logger = logging.getLogger(__name__)

_Document = TypeVar("_Document")


def read_cache_file(file: Path, kind: type[_Document], max_bytes: int) -> _Document | None:
    """The document of `kind` in a file; None if there is none, or none that can be used."""
    try:
        if (n_bytes := file.stat().st_size) > max_bytes:
            logger.info("%s is not used: %d bytes, the limit is %d", file, n_bytes, max_bytes)
            return None
        return msgspec.msgpack.decode(file.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, msgspec.DecodeError) as error:
        logger.info("%s cannot be used: %s", file, error)
        return None


def write_cache_file(file: Path, document: msgspec.Struct) -> None:
    """Replace a file at once, so that other processes never read a part of it. Logs failures."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f"{file.name}.", dir=file.parent)
        try:
            with os.fdopen(descriptor, "wb") as output:
                output.write(msgspec.msgpack.encode(document))
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink()
            raise
    except (OSError, ValueError) as error:
        logger.info("%s cannot be written: %s", file, error)
