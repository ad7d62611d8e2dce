"""How much memory this process may use, considering a container's limit; pure Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import psutil

from llamabind.system.control_groups import CGROUPS, OWN_GROUPS, control_groups, read_text

if TYPE_CHECKING:
    from pathlib import Path

# The files of a group by version: limit, use, and the page cache in memory.stat.
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


class HostMemory(NamedTuple):
    """Bytes that can be allocated now without swapping, and the total."""

    free: int
    total: int


def host_memory(cgroups: Path = CGROUPS, own: Path = OWN_GROUPS) -> HostMemory:
    """Return free and total memory within control group limits; page cache counts as free."""
    machine = psutil.virtual_memory()
    free, total = int(machine.available), int(machine.total)
    for limit, used in _limits(cgroups, own):
        if limit < total:
            total = limit
            free = min(free, max(0, limit - used))
    return HostMemory(free, total)


def _limits(cgroups: Path, own: Path) -> list[tuple[int, int]]:
    """Return (limit, use) in bytes of each control group of this process."""
    found = []
    for version, folder in control_groups("memory", cgroups, own):
        limit_file, use_file, cache_key = _FILES[version]
        limit, use = read_text(folder / limit_file).strip(), read_text(folder / use_file).strip()
        if limit.isdecimal() and use.isdecimal():
            found.append((int(limit), int(use) - _cache(folder / "memory.stat", cache_key)))
    return found


def _cache(stat: Path, key: str) -> int:
    """Return the bytes of reclaimable page cache, which the kernel counts as used."""
    for line in read_text(stat).splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.isdecimal():
            return int(value)
    return 0
