"""How much memory this machine has for us, a container's limit included; pure Python."""

from pathlib import Path
from typing import NamedTuple

import psutil

_CGROUPS = Path("/sys/fs/cgroup")
_SELF = Path("/proc/self/cgroup")


class HostMemory(NamedTuple):
    """Bytes that can be used now without swapping, and all there are."""

    free: int
    total: int


def host_memory(cgroups: Path = _CGROUPS, own: Path = _SELF) -> HostMemory:
    """Return what is free: page cache counts as free, beyond a control group's limit nothing is."""
    machine = psutil.virtual_memory()
    free, total = int(machine.available), int(machine.total)
    for limit, used in _limits(cgroups, own):
        if limit < total:
            total = limit
            free = min(free, max(0, limit - used))
    return HostMemory(free, total)


def _limits(cgroups: Path, own: Path) -> list[tuple[int, int]]:
    """(limit, use) of every control group this process is in, version 2, then 1."""
    found = []
    for line in _read(own).splitlines():
        _, controllers, name = line.split(":", 2)
        if not controllers:
            found += _limits_above(cgroups, name, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            found += _limits_above(cgroups / "memory", name, *names)
    return found


def _limits_above(
    root: Path, name: str, limit_file: str, use_file: str, cache_key: str
) -> list[tuple[int, int]]:
    """The group and its parents. Inside a container the own group may be the root."""
    group = root / name.lstrip("/")
    found = []
    while group.is_relative_to(root):
        limit, use = _read(group / limit_file).strip(), _read(group / use_file).strip()
        if limit.isdecimal() and use.isdecimal():
            found.append((int(limit), int(use) - _cache(group / "memory.stat", cache_key)))
        if group == root:
            break
        group = group.parent
    return found


def _cache(stat: Path, key: str) -> int:
    """Page cache that is given back when memory is short, yet counted as used."""
    for line in _read(stat).splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.isdecimal():
            return int(value)
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
