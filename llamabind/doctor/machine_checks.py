"""Checks of the machine: memory, CPUs and a container's limits on both, huge pages."""

from __future__ import annotations

from llamabind.doctor.finding import Finding

_GIB = 2**30
# The bundled model needs far less; a model of 1 billion parameters in 4 bits about this.
_LITTLE_MEMORY = 1 * _GIB


def check_memory(free: int, total: int, machine: int, limit: str = "") -> Finding:
    """Compare the memory of this process's limit (`total`) with the machine's; all in bytes.

    `limit` is a clause about a limit of each process's address space, "" without one.
    """
    detail = f"{free / _GIB:.1f} of {total / _GIB:.1f} GiB free"
    if total < machine:
        detail += f"; a container's limit, the machine has {machine / _GIB:.1f} GiB"
    if limit:
        advice = "`ulimit -v unlimited` lifts it: a model's whole file counts"
        return Finding("memory", "warning", f"{detail}; {limit}", advice)
    if free < _LITTLE_MEMORY:
        advice = "end other programs" if total == machine else "raise the container's memory limit"
        return Finding(
            "memory", "warning", detail, f"{advice}: few models fit into less than 1 GiB"
        )
    return Finding("memory", "ok", detail)


def check_cpus(machine: int, usable: int, quota: int | None) -> Finding:
    """Compare the machine's CPUs with those this process may use; `quota` limits a container."""
    used = min(usable, quota or usable)
    if used == machine:
        return Finding("CPUs", "ok", f"{machine}")
    limits = []
    if usable < machine:
        limits.append(f"CPU affinity allows {usable}")
    if quota is not None and quota < machine:
        limits.append(f"the container's quota allows {quota}")
    return Finding("CPUs", "ok", f"{used} of {machine}: {' and '.join(limits)}")


def check_huge_pages(system: str, setting: str) -> Finding:
    """`setting` is the content of Linux's transparent_hugepage/enabled, "" where it is missing."""
    name = "huge pages"
    if system != "Linux":
        return Finding(name, "ok", f"decided by {system}")
    chosen = setting.partition("[")[2].partition("]")[0]
    if chosen in ("always", "madvise"):
        return Finding(name, "ok", f"available to programs that request them ({chosen})")
    path = "/sys/kernel/mm/transparent_hugepage/enabled"
    detail = f"turned off ({chosen})" if chosen else f"unknown: {path} cannot be read"
    advice = (
        f"`echo madvise | sudo tee {path}` on the host makes prompts faster; the KV cache asks "
        "for huge pages"
    )
    return Finding(name, "warning", detail, advice if chosen else "")
