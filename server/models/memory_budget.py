"""MemoryBudget: whether a model fits beside the others, and which would have to go. Pure policy."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from server.protocol.messages import DeviceMemory

HOST = "host"
MODELS = "models"
Amounts: TypeAlias = Mapping[str, int]
"""Bytes by device, the host's under HOST; MODELS is a number of models."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A model that holds memory, or is about to.

    `is_loading`: what it holds is not yet missing in what the system calls free. `is_idle`: it can
    go at once. A pinned one never goes.
    """

    id: str
    amounts: Amounts
    last_used: float
    is_idle: bool
    is_pinned: bool = False
    is_loading: bool = False


@dataclass(frozen=True, slots=True)
class Shortage:
    """Of one device: what is needed, what is free now, and what could be had at best."""

    needed: int
    free: int
    available: int


@dataclass(frozen=True, slots=True)
class EvictionPlan:
    """What to do for a model: unload `evict` now; or wait until `wait_for` are idle; or give up
    because of `missing`. With nothing of that it fits as it is.
    """

    evict: tuple[str, ...] = ()
    wait_for: tuple[str, ...] = ()
    missing: Mapping[str, Shortage] = field(default_factory=dict)


class MemoryBudget:
    """The limits set for the host, for devices by name, and for the number of models; 0 is none."""

    def __init__(
        self, host_bytes: int = 0, device_bytes: Amounts | None = None, max_models: int = 0
    ) -> None:
        limits = {HOST: host_bytes, MODELS: max_models, **(device_bytes or {})}
        self._limits = {name: limit for name, limit in limits.items() if limit > 0}

    def plan(self, need: Amounts, free: Amounts, holders: Sequence[Holder]) -> EvictionPlan:
        """How to make room for `need`, where the system says that `free` is free."""
        headroom = {name: self._headroom(name, free, holders) for name in need}
        short = {
            name: amount - room
            for name, amount in need.items()
            if (room := headroom[name]) is not None and room < amount
        }
        if not short:
            return EvictionPlan()
        movable = sorted(
            (holder for holder in holders if not holder.is_pinned), key=lambda item: item.last_used
        )
        idle = _choose(short, [holder for holder in movable if holder.is_idle])
        if idle is not None:
            return EvictionPlan(evict=idle)
        # The idle ones first here too: they shorten the list of those that are waited for.
        later = _choose(short, sorted(movable, key=lambda item: not item.is_idle))
        if later is not None:
            return EvictionPlan(wait_for=later)
        missing = {}
        for name in short:
            room = headroom[name] or 0
            at_best = room + sum(holder.amounts.get(name, 0) for holder in movable)
            if at_best < need[name]:
                missing[name] = Shortage(need[name], max(room, 0), max(at_best, 0))
        return EvictionPlan(missing=missing)

    def _headroom(self, name: str, free: Amounts, holders: Iterable[Holder]) -> int | None:
        """How much more there may be of one thing; None is any amount."""
        rooms = []
        if name in free:
            coming = sum(item.amounts.get(name, 0) for item in holders if item.is_loading)
            rooms.append(free[name] - coming)
        if name in self._limits:
            rooms.append(self._limits[name] - sum(item.amounts.get(name, 0) for item in holders))
        return min(rooms, default=None)


def amounts_of(devices: Iterable[DeviceMemory]) -> dict[str, int]:
    """What one model takes."""
    amounts = {MODELS: 1}
    for device in devices:
        name = _name(device)
        amounts[name] = amounts.get(name, 0) + device.used_bytes
    return amounts


def free_of(devices: Iterable[DeviceMemory]) -> dict[str, int]:
    """What is free, as far as the system says."""
    return {_name(item): item.free_bytes for item in devices if item.free_bytes is not None}


def _name(device: DeviceMemory) -> str:
    return HOST if device.kind == "host" else device.name


def _choose(short: Amounts, candidates: Sequence[Holder]) -> tuple[str, ...] | None:
    """The first of `candidates` that together give back what is short; None if all do not."""

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
    # A big one may have made a smaller one before it needless.
    for holder in reversed(chosen.copy()):
        rest = [item for item in chosen if item is not holder]
        if covers(rest):
            chosen = rest
    return tuple(holder.id for holder in chosen)
