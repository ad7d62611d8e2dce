"""check_file_name: names of files that clients choose, inside one folder of ours."""

import re

from server.errors import InvalidRequestError

_MAX_BYTES = 255
# No separator of any system, nothing that a shell, a Windows share or a terminal would take ill.
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|\ufffd]')


def check_file_name(field: str, name: str) -> None:
    """Refuse what is more than a plain name. Raises InvalidRequestError that names `field`."""
    problem = _problem(name)
    if problem:
        raise InvalidRequestError(f"field '{field}': {problem}", param=field)


def _problem(name: str) -> str | None:
    if not name:
        return "must not be empty"
    if name.startswith(".") or name != name.strip() or name.endswith("."):
        return f"{name!r} begins or ends with a dot or a space"
    if _FORBIDDEN.search(name) or not name.isprintable():
        return f"{name!r} has characters that no file name may have; it is a name, not a path"
    try:
        n_bytes = len(name.encode())
    except UnicodeEncodeError:
        return "it is no text"
    return f"{n_bytes} bytes are too many, at most {_MAX_BYTES}" if n_bytes > _MAX_BYTES else None
