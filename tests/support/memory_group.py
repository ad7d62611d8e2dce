"""A control group whose processes the kernel kills as soon as they need further memory."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_LIMIT_BYTES = 1 << 20
# By version: the file of the limit, and files that keep the kernel from swapping instead.
_LIMITS = {1: "memory.limit_in_bytes", 2: "memory.max"}
_SWAP_LIMITS = {1: ("memory.memsw.limit_in_bytes", _LIMIT_BYTES), 2: ("memory.swap.max", 0)}
NEEDS = (
    "a kernel OOM kill needs a control group (version 1 or 2) with the memory controller in which "
    "this user may make groups: run as root, or with `systemd-run --user --scope`"
)


@contextlib.contextmanager
def memory_group(proc: Path = Path("/proc")) -> Iterator[Path | None]:
    """Make a group with a limit of 1 MiB; None where the user may not. Write pids to cgroup.procs.

    Memory that a process took before it joined counts for its old group.
    """
    for version, parent in _parents(proc):
        path = parent / f"llamabind-test-{os.getpid()}"
        try:
            path.mkdir()
        except OSError:
            continue
        try:
            (path / _LIMITS[version]).write_text(str(_LIMIT_BYTES))
        except OSError:
            path.rmdir()
            continue
        swap, limit = _SWAP_LIMITS[version]
        if (path / swap).exists():
            (path / swap).write_text(str(limit))
        try:
            yield path
        finally:
            path.rmdir()
        return
    yield None


def _parents(proc: Path) -> Iterator[tuple[int, Path]]:
    """The version and folder of each group that may have children with a limit of memory."""
    for line in (proc / "mounts").read_text().splitlines():
        _, folder, kind, options, *_ = line.split()
        mount = Path(folder)
        if kind == "cgroup" and "memory" in options.split(","):
            yield 1, mount
        elif kind == "cgroup2":
            # From this process's group up to the root: a service manager delegates a part of them
            # to each user. Only the root may have both processes and controlled children.
            own = mount / _own_group(proc).lstrip("/")
            for group in (own, *own.parents):
                with contextlib.suppress(OSError):
                    if "memory" in (group / "cgroup.subtree_control").read_text().split():
                        yield 2, group
                if group == mount:
                    break


def _own_group(proc: Path) -> str:
    """The path of this process in the groups of version 2."""
    for line in (proc / "self" / "cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return line.removeprefix("0::")
    return "/"
