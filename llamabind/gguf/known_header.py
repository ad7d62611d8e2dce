"""known_gguf_header: a GGUF header that is read once for several questions."""

import os
from functools import lru_cache
from pathlib import Path

from llamabind.errors import GgufError
from llamabind.gguf.header import read_gguf_header
from llamabind.gguf.header_fields import GgufHeader


def known_gguf_header(path: str | os.PathLike[str]) -> GgufHeader:
    """As read_gguf_header, but read only once as long as the file's size and time stay the same.

    A vocabulary of 256,000 tokens takes some 60 ms to skip, and a load asks several times.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise GgufError(f"the file cannot be read: {error.strerror or error}") from error
    return _read_known(os.fspath(path), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _read_known(path: str, _mtime_ns: int, _n_bytes: int) -> GgufHeader:
    return read_gguf_header(path)
