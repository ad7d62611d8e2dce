"""The control groups of this process, which hold a container's limits; pure Python."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


class ControlGroup(NamedTuple):
    """A group's folder and its cgroup version, 1 or 2, which determines the names of its files."""

    version: int
    folder: Path


def control_groups(
    controller: str, root: Path = CGROUPS, own: Path = OWN_GROUPS
) -> Iterator[ControlGroup]:
    """Yield the groups whose `controller` limits this process, parents included."""
    for line in read_text(own).splitlines():
        _, controllers, name = line.split(":", 2)
        if not controllers:
            yield from _group_and_parents(2, root, name)
        elif controller in controllers.split(","):
            yield from _group_and_parents(1, root / controller, name)


def cpu_quota(root: Path = CGROUPS, own: Path = OWN_GROUPS) -> int | None:
    """Return the limit of CPU time in CPUs, rounded up; None without a limit.

    With such a limit (`docker run --cpus=2`) all CPUs stay visible, but a process that computes on
    more of them is stopped for the rest of each period.
    """
    quotas = [
        quota / period
        for group in control_groups("cpu", root, own)
        for quota, period in [_quota_and_period(group)]
        if quota > 0 and period > 0
    ]
    return max(1, math.ceil(min(quotas))) if quotas else None


def read_text(path: Path) -> str:
    """Return a file's text, "" if it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _group_and_parents(version: int, root: Path, name: str) -> Iterator[ControlGroup]:
    """Yield the group's folder and its parents up to `root`.

    In a container the process's group may be mounted as the root, under another name than outside.
    """
    folder = root / name.lstrip("/")
    while folder.is_relative_to(root):
        yield ControlGroup(version, folder)
        if folder == root:
            break
        folder = folder.parent


def _quota_and_period(group: ControlGroup) -> tuple[int, int]:
    """Return the microseconds of CPU time per period and the period; (0, 0) for no limit."""
    if group.version == 2:
        words = read_text(group.folder / "cpu.max").split()
    else:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = [read_text(group.folder / name).strip() for name in names]
    if len(words) == 2 and all(word.isdecimal() for word in words):
        return int(words[0]), int(words[1])
    return 0, 0
