"""How much memory this process may use, considering a container's limit; pure Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import psutil

from llamabind.system.control_groups import CGROUPS, OWN_GROUPS, control_groups, read_text

if TYPE_CHECKING:
    from pathlib import Path

# The files of a group by version: limit and use; and the page cache in memory.stat.
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    2: ("memory.max", "memory.current"),
}
_PAGE_CACHE = {
    1: ("total_active_file", "total_inactive_file"),
    2: ("active_file", "inactive_file"),
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
        limit_file, use_file = _FILES[version]
        limit, use = read_text(folder / limit_file).strip(), read_text(folder / use_file).strip()
        if limit.isdecimal() and use.isdecimal():
            cache = _cache(folder / "memory.stat", _PAGE_CACHE[version])
            found.append((int(limit), int(use) - cache))
    return found


def _cache(stat: Path, keys: tuple[str, ...]) -> int:
    """Return the bytes of the page cache, which the kernel counts as used but can reclaim."""
    lines = (line.partition(" ") for line in read_text(stat).splitlines())
    return sum(int(value) for name, _, value in lines if name in keys and value.isdecimal())
