"""File descriptors: how many connections fit this process's limit."""

import logging
import resource
from dataclasses import replace
from pathlib import Path

from server.config import ServerConfig

logger = logging.getLogger(__name__)

_OTHERS = 128
"""Descriptors kept for all but clients' connections: about 6 for each worker process, one for each
download of an image, model files that are read.
"""


def fit_connections(config: ServerConfig) -> ServerConfig:
    """Raise the soft limit of descriptors as needed and allowed; the config whose
    `max_connections` fits into it. Logs a lower number.
    """
    n_used = _n_open()
    n_others = n_used + _OTHERS
    limit = _raise_limit(n_others + config.max_connections)
    # With a very small limit, half of it is for connections.
    n_fitting = max(limit - n_others, (limit - n_used) // 2, 1)
    if n_fitting >= config.max_connections:
        return config
    logger.warning(
        "--max-connections is %d, but the limit of %d file descriptors (ulimit -n) leaves %d for "
        "connections: using %d",
        config.max_connections,
        limit,
        n_fitting,
        n_fitting,
    )
    return replace(config, max_connections=n_fitting)


def _raise_limit(wanted: int) -> int:
    """Raise the soft limit towards `wanted`, as far as the hard limit allows; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    except (OSError, ValueError):
        # macOS has a lower limit besides (kern.maxfilesperproc).
        return soft
    return raised


def _n_open() -> int:
    """Descriptors in use; 32 where the system does not list them."""
    try:
        return sum(1 for _ in Path("/dev/fd").iterdir())
    except OSError:
        return 32
