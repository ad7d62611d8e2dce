"""How many CPUs this process may use, considering a container's limit; pure Python."""

from __future__ import annotations

import os
from typing import Final

import psutil

from llamabind.system.control_groups import cpu_quota

# GGML_MAX_N_THREADS of ggml.h: llama.cpp aborts with more.
MAX_THREADS: Final = 512


def usable_cores() -> int:
    """Return how many physical cores this process may use, by its affinity and CPU quota.

    Compute threads spin at barriers, so threads above the quota would waste it waiting.
    """
    physical: int = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    usable = min(physical, usable_cpus())
    return min(usable, cpu_quota() or usable)


def usable_cpus() -> int:
    """Return how many logical CPUs this process may use, at most MAX_THREADS."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), MAX_THREADS)
    return min(os.cpu_count() or 1, MAX_THREADS)
