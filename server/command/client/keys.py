"""find_key: the API key of a command, from a file or the environment, never from an argument.

Other users of a machine can read the arguments of every process.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from server.command.client.errors import UsageError

_MAX_BYTES: Final = 1 << 18
# The command's own variable, then those by which the server itself takes its keys.
VARIABLES: Final = ("LLAMABIND_API_KEY", "LLAMABIND_ADMIN_KEY", "LLAMA_API_KEY")
FILE_VARIABLES: Final = ("LLAMABIND_ADMIN_KEY_FILE", "LLAMA_ARG_API_KEY_FILE")


def find_key(file: str | None, environment: Mapping[str, str]) -> str | None:
    """The first key of `file`, else of the environment; None without any. Raises UsageError."""
    if file is not None:
        return _checked(_first_of_file(file), f"--api-key-file {file}")
    for name in VARIABLES:
        if key := environment.get(name, "").split(",")[0].strip():
            return _checked(key, name)
    for name in FILE_VARIABLES:
        if path := environment.get(name):
            return _checked(_first_of_file(path), f"{name} {path}")
    return None


def _first_of_file(path: str) -> str:
    """The first line that is neither empty nor a comment, as the server reads its key files."""
    try:
        with Path(path).expanduser().open(encoding="utf-8") as file:
            lines = [line.strip() for line in file.read(_MAX_BYTES).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not valid UTF-8"
        raise UsageError(f"the file of the API key cannot be read: {path}: {reason}") from None
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise UsageError(f"the file of the API key has no key: {path}")
    return keys[0]


def _checked(key: str, source: str) -> str:
    """The key, which a header can carry. Raises UsageError, whose message does not show it."""
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"the API key of {source} has characters that no header can carry")
    return key
