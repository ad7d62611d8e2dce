"""MemoryReport: the memory that a context and its model use, by device."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from llamabind._capi import shim
from llamabind._capi.shim_text import last_error, take_text
from llamabind.errors import LlamaError

if TYPE_CHECKING:
    from llamabind.context.context import Context


class MemoryUse(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of weights, of KV cache and state, and of compute buffers."""

    model: int
    context: int
    compute: int

    @property
    def total(self) -> int:
        """The sum in bytes."""
        return self.model + self.context + self.compute


class HostMemoryUse(MemoryUse, frozen=True, kw_only=True):
    """Memory use on the host; `mapped` is the part of `model` in a mapped file.

    The system can drop their pages, and counts them as available memory.
    """

    mapped: int = 0


class DeviceMemoryUse(MemoryUse, frozen=True, kw_only=True):
    """Memory use on one device; `type` is gpu, igpu or accel."""

    name: str
    description: str
    type: str


_Use = TypeVar("_Use", bound=MemoryUse)


class MemoryReport(msgspec.Struct, frozen=True, kw_only=True):
    """Memory use of one context and its model (lb_memory_breakdown of csrc/llamabind.h)."""

    host: HostMemoryUse
    devices: tuple[DeviceMemoryUse, ...] = ()

    @property
    def total(self) -> int:
        """The sum over host and devices in bytes."""
        return self.host.total + sum(device.total for device in self.devices)

    @property
    def has_weights_on_gpu(self) -> bool:
        """Whether at least a part of the weights is on a GPU."""
        return any(device.model > 0 for device in self.devices if device.type != "accel")

    @property
    def without_weights(self) -> MemoryReport:
        """The memory of the context alone, as of a second one over the same weights."""
        return MemoryReport(
            host=msgspec.structs.replace(self.host, model=0, mapped=0),
            devices=tuple(msgspec.structs.replace(device, model=0) for device in self.devices),
        )

    def plus(self, other: MemoryReport) -> MemoryReport:
        """Return the sum of both, as for a model and its draft model."""
        devices = {device.name: device for device in self.devices}
        for device in other.devices:
            known = devices.get(device.name)
            devices[device.name] = device if known is None else _add(known, device)
        host = _add(self.host, other.host)
        host = msgspec.structs.replace(host, mapped=self.host.mapped + other.host.mapped)
        return MemoryReport(host=host, devices=tuple(devices.values()))

    @classmethod
    def of(cls, context: Context) -> MemoryReport:
        """Measure `context`. Raises LlamaError."""
        text = shim.lb_memory_breakdown(context.ptr)
        if not text:
            raise LlamaError(last_error())
        return msgspec.json.decode(take_text(text), type=cls)


def _add(a: _Use, b: _Use) -> _Use:
    return msgspec.structs.replace(
        a, model=a.model + b.model, context=a.context + b.context, compute=a.compute + b.compute
    )
