"""How much memory this process may use, a container's limit included, and whether in huge pages;
pure Python.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import psutil

from llamabind.system.control_groups import CGROUPS, OWN_GROUPS, control_groups, read_text

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
# The files of a group by version: limit, use, and the page cache in memory.stat.
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


class HostMemory(NamedTuple):
    """Bytes that can be used now without swapping, and all there are."""

    free: int
    total: int


def host_memory(cgroups: Path = CGROUPS, own: Path = OWN_GROUPS) -> HostMemory:
    """Return what is free: page cache counts as free, beyond a control group's limit nothing is."""
    machine = psutil.virtual_memory()
    free, total = int(machine.available), int(machine.total)
    for limit, used in _limits(cgroups, own):
        if limit < total:
            total = limit
            free = min(free, max(0, limit - used))
    return HostMemory(free, total)


def has_huge_pages(setting: Path = HUGE_PAGES) -> bool:
    """Tell whether memory that asks for huge pages may get them: not on other systems, and not
    where they are turned off.
    """
    text = read_text(setting)
    return "[always]" in text or "[madvise]" in text


def _limits(cgroups: Path, own: Path) -> list[tuple[int, int]]:
    """(limit, use) of every control group this process is in."""
    found = []
    for version, folder in control_groups("memory", cgroups, own):
        limit_file, use_file, cache_key = _FILES[version]
        limit, use = read_text(folder / limit_file).strip(), read_text(folder / use_file).strip()
        if limit.isdecimal() and use.isdecimal():
            found.append((int(limit), int(use) - _cache(folder / "memory.stat", cache_key)))
    return found


def _cache(stat: Path, key: str) -> int:
    """Page cache that is given back when memory is short, yet counted as used."""
    for line in read_text(stat).splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.isdecimal():
            return int(value)
    return 0
