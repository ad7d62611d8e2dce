"""Opens one native library; a lack of memory is another error than an unusable library."""

import ctypes
from pathlib import Path
from typing import Final

from llamabind.errors import HostMemoryError, LibraryError

# The dynamic linker's messages (glibc, musl) for a lack of memory.
_NO_MEMORY: Final = ("failed to map segment", "annot allocate memory", "Out of memory")


def open_file(path: Path) -> ctypes.CDLL:
    """Open a library by its path.

    Raises HostMemoryError if memory is lacking, and LibraryError for any other failure.
    """
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        if any(words in str(error) for words in _NO_MEMORY):
            raise HostMemoryError(f"{path} cannot be loaded: {error}") from error
        raise misfit(path, error) from error


def misfit(path: Path, error: Exception) -> LibraryError:
    """The error about a library that cannot be opened, or lacks a function of ours."""
    return LibraryError(
        f"{path} cannot be loaded: {error}; all libraries of a folder must come from one build for "
        "this machine: reinstall llamabind"
    )
