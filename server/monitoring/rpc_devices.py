"""RpcReader: the devices of the RPC servers of --rpc, with their free memory."""

import time
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from llamabind.system.rpc_probe import RpcServerState, probe_rpc_servers
from server.monitoring.gpu import GpuMemory

_MB = 1 << 20
_PERIOD_SECONDS = 10.0
# llama.cpp's rpc-server answers no question while a model uses it, and keeps each one in its queue.
_BUSY_PERIOD_SECONDS = 60.0

Probe = Callable[[Sequence[str]], tuple[RpcServerState, ...]]


class RpcDevice(msgspec.Struct, frozen=True):
    """A device of an RPC server, by its name in load settings. `memory` is null, unless `status` is
    "ok"; `problem` says why.
    """

    name: str
    server: str
    status: Literal["ok", "busy", "lost", "mismatch"]
    memory: GpuMemory | None
    problem: str | None = None


class RpcReader:
    """Asks all servers every ten seconds. Blocks for up to 5 s: one thread of its own only."""

    def __init__(self, addresses: Sequence[str], probe: Probe = probe_rpc_servers) -> None:
        self._addresses = tuple(addresses)
        self._probe = probe
        self._next = 0.0
        self._n_devices = dict.fromkeys(addresses, 1)
        self._devices: tuple[RpcDevice, ...] = ()

    def read(self) -> tuple[RpcDevice, ...]:
        """All devices; at most ten seconds old."""
        if self._addresses and time.monotonic() >= self._next:
            states = self._probe(self._addresses)
            self._devices = self._named(states)
            is_busy = any(device.status == "busy" for device in self._devices)
            self._next = time.monotonic() + (_BUSY_PERIOD_SECONDS if is_busy else _PERIOD_SECONDS)
        return self._devices

    def _named(self, states: Sequence[RpcServerState]) -> tuple[RpcDevice, ...]:
        """The devices by the names that workers give them: RPC0, RPC1, ... over all servers."""
        found: list[RpcDevice] = []
        for state in states:
            if state.devices:
                self._n_devices[state.address] = len(state.devices)
            # A server that does not answer has as many as before.
            for index in range(self._n_devices[state.address]):
                found.append(_device(f"RPC{len(found)}", state, index))
        return tuple(found)


def _device(name: str, state: RpcServerState, index: int) -> RpcDevice:
    if state.error is None:
        memory = state.devices[index]
        used = max(0, memory.total - memory.free)
        percent = round(100.0 * used / memory.total, 1) if memory.total else 0.0
        figures = GpuMemory(memory.total // _MB, used // _MB, percent)
        return RpcDevice(name, state.address, "ok", figures)
    match state.error.reason:
        case "rpc_server_busy":
            return RpcDevice(name, state.address, "busy", None, state.error.detail)
        case "rpc_server_mismatch":
            return RpcDevice(name, state.address, "mismatch", None, state.error.detail)
        case _:
            return RpcDevice(name, state.address, "lost", None, state.error.detail)
