"""MemoryBudget: whether a model fits beside the others, and which to unload for it. Pure policy."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from server.protocol.loading import DeviceMemory

HOST = "host"
MODELS = "models"
Amounts: TypeAlias = Mapping[str, int]
"""Bytes by device name, host memory as HOST; MODELS is a number of models."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A model that holds memory or has reserved it.

    `hidden` is the part that the system reports as free: all of it during a load, and once loaded
    only weights in mapped files. `is_idle`: it can be unloaded at once. A pinned model is never
    unloaded.
    """

    id: str
    amounts: Amounts
    last_used: float
    is_idle: bool
    is_pinned: bool = False
    hidden: Amounts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shortage:
    """For one device: bytes needed, free now, and free if all unpinned models were unloaded."""

    needed: int
    free: int
    available: int


@dataclass(frozen=True, slots=True)
class EvictionPlan:
    """How to free memory for a model: unload `evict` now; or wait until `wait_for` are idle; or
    give up because of `missing`. If all are empty, the model fits already.
    """

    evict: tuple[str, ...] = ()
    wait_for: tuple[str, ...] = ()
    missing: Mapping[str, Shortage] = field(default_factory=dict)

    def shortages(self) -> list[dict[str, Any]]:
        """`missing` as in the API: bytes by device, numbers of models under the name MODELS."""
        return [
            {
                "name": name,
                "needed_bytes": lack.needed,
                "free_bytes": lack.free,
                "available_bytes": lack.available,
            }
            for name, lack in self.missing.items()
        ]


class MemoryBudget:
    """Limits for host memory, for devices by name, and for the number of models; 0 is no limit."""

    def __init__(
        self, host_bytes: int = 0, device_bytes: Amounts | None = None, max_models: int = 0
    ) -> None:
        limits = {HOST: host_bytes, MODELS: max_models, **(device_bytes or {})}
        self._limits = {name: limit for name, limit in limits.items() if limit > 0}

    def remaining(self, name: str, holders: Iterable[Holder]) -> int | None:
        """The part of the limit of `name` that the others do not use; None without a limit."""
        if name not in self._limits:
            return None
        return max(0, self._limits[name] - sum(item.amounts.get(name, 0) for item in holders))

    def plan(self, need: Amounts, free: Amounts, holders: Sequence[Holder]) -> EvictionPlan:
        """How to free memory for `need`, where the system reports `free`."""
        headroom = {name: self._headroom(name, free, holders) for name in need}
        short = {
            name: amount - available
            for name, amount in need.items()
            if (available := headroom[name]) is not None and available < amount
        }
        if not short:
            return EvictionPlan()
        movable = sorted(
            (holder for holder in holders if not holder.is_pinned), key=lambda item: item.last_used
        )
        idle = _choose(short, [holder for holder in movable if holder.is_idle])
        if idle is not None:
            return EvictionPlan(evict=idle)
        # Idle models first here too, so that fewer busy ones have to be waited for.
        later = _choose(short, sorted(movable, key=lambda item: not item.is_idle))
        if later is not None:
            return EvictionPlan(wait_for=later)
        missing = {}
        for name in short:
            available = headroom[name] or 0
            at_most = available + sum(holder.amounts.get(name, 0) for holder in movable)
            if at_most < need[name]:
                missing[name] = Shortage(need[name], max(available, 0), max(at_most, 0))
        return EvictionPlan(missing=missing)

    def _headroom(self, name: str, free: Amounts, holders: Iterable[Holder]) -> int | None:
        """How much more of `name` may be used; None is no limit."""
        bounds = []
        if name in free:
            bounds.append(free[name] - sum(item.hidden.get(name, 0) for item in holders))
        if name in self._limits:
            bounds.append(self._limits[name] - sum(item.amounts.get(name, 0) for item in holders))
        return min(bounds, default=None)


def amounts_of(devices: Iterable[DeviceMemory]) -> dict[str, int]:
    """The amounts that one model with these devices takes."""
    amounts = {MODELS: 1}
    for device in devices:
        name = _name(device)
        amounts[name] = amounts.get(name, 0) + device.used_bytes
    return amounts


def hidden_of(devices: Iterable[DeviceMemory]) -> dict[str, int]:
    """The amounts of a loaded model that the system reports as free."""
    return {_name(device): device.mapped_bytes for device in devices if device.mapped_bytes}


def free_of(devices: Iterable[DeviceMemory]) -> dict[str, int]:
    """Free bytes by device, for devices whose free memory is known."""
    return {_name(item): item.free_bytes for item in devices if item.free_bytes is not None}


def _name(device: DeviceMemory) -> str:
    return HOST if device.kind == "host" else device.name


def _choose(short: Amounts, candidates: Sequence[Holder]) -> tuple[str, ...] | None:
    """The first of `candidates` that together free `short`; None if not even all of them do."""

    def covers(holders: Iterable[Holder]) -> bool:
        chosen = list(holders)
        return all(
            sum(holder.amounts.get(name, 0) for holder in chosen) >= amount
            for name, amount in short.items()
        )

    chosen: list[Holder] = []
    for candidate in candidates:
        if covers(chosen):
            break
        if any(candidate.amounts.get(name, 0) for name in short):
            chosen.append(candidate)
    if not covers(chosen):
        return None
    # A large model may have made a smaller one chosen before it unnecessary.
    for holder in reversed(chosen.copy()):
        rest = [item for item in chosen if item is not holder]
        if covers(rest):
            chosen = rest
    return tuple(holder.id for holder in chosen)
