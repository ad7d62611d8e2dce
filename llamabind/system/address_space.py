"""Limits of the address space (`ulimit -v`), and the message of a process that meets one."""

from __future__ import annotations

import resource


def address_space_limit() -> int | None:
    """Return the limit in bytes, which child processes inherit; None if there is none."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def limit_text() -> str:
    """Return a clause about the limit; "" if there is none."""
    limit = address_space_limit()
    if limit is None:
        return ""
    return f"ulimit -v limits each process to {limit >> 20:,} MB of address space"


def no_memory_left(error: BaseException) -> str:
    """Return the message for an error of `is_out_of_memory`; Python's own is often empty."""
    limit = limit_text()
    cause = (
        f"{limit}, which is too little" if limit else "raise the container's limit, if it has one"
    )
    detail = f" ({error})" if str(error) else ""
    return f"no memory is left{detail}; {cause}"
