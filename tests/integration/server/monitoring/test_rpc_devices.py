"""The devices of RPC servers in metrics, and the question to the servers at the start."""

import json
import logging
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

from llamabind.errors import RpcServerError
from llamabind.system.rpc_probe import RpcDeviceMemory, RpcServerState
from server.config import ServerConfig
from server.monitoring import rpc_check, rpc_devices
from server.monitoring.rpc_check import RpcStartError, check_rpc_servers
from server.monitoring.rpc_devices import RpcReader

_GB = 1 << 30
_TWO = RpcServerState("a:1", (RpcDeviceMemory(3 * _GB, 4 * _GB), RpcDeviceMemory(0, 0)))
_ONE = RpcServerState("b:2", (RpcDeviceMemory(_GB, _GB),))


def _failed(address: str, kind: str) -> RpcServerState:
    return RpcServerState(address, error=RpcServerError(f"rpc_server_{kind}", f"{kind} {address}"))


class Probe:
    """Answers with one list of states after the other; the last one stays."""

    def __init__(self, *answers: tuple[RpcServerState, ...]) -> None:
        self.answers = list(answers)
        self.n_calls = 0

    def __call__(self, addresses: Sequence[str]) -> tuple[RpcServerState, ...]:
        self.n_calls += 1
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        assert [state.address for state in answer] == list(addresses)
        return answer


def test_devices_are_numbered_over_all_servers() -> None:
    devices = RpcReader(["a:1", "b:2"], Probe((_TWO, _ONE))).read()
    assert [(device.name, device.server, device.status) for device in devices] == [
        ("RPC0", "a:1", "ok"),
        ("RPC1", "a:1", "ok"),
        ("RPC2", "b:2", "ok"),
    ]
    memory = devices[0].memory
    assert memory is not None
    assert (memory.total_mb, memory.used_mb, memory.percent) == (4096, 1024, 25.0)


@pytest.mark.parametrize("kind", ["lost", "busy", "mismatch"])
def test_a_server_without_an_answer_keeps_the_names_of_the_others(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc_devices, "_PERIOD_SECONDS", 0.0)
    reader = RpcReader(["a:1", "b:2"], Probe((_TWO, _ONE), (_failed("a:1", kind), _ONE)))
    reader.read()
    first, second, third = reader.read()
    assert (first.name, second.name, third.name) == ("RPC0", "RPC1", "RPC2")
    assert (first.status, first.memory, first.problem) == (kind, None, f"{kind} a:1")
    assert third.status == "ok"


def test_servers_are_asked_once_in_a_period() -> None:
    probe = Probe((_ONE,))
    reader = RpcReader(["b:2"], probe)
    assert reader.read() == reader.read()
    assert probe.n_calls == 1


def _start(
    monkeypatch: pytest.MonkeyPatch, states: tuple[RpcServerState, ...], backends: Any
) -> None:
    config = ServerConfig(rpc=tuple(state.address for state in states))
    report = json.dumps({"native": {"backends": backends} if backends is not None else None})
    monkeypatch.setattr(rpc_check, "probe_rpc_servers", Probe(states))
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, report)
    )
    check_rpc_servers(config)


def test_the_start_logs_each_device(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    _start(monkeypatch, (_TWO, _ONE), ["RPC", "CPU"])
    assert "device RPC0: on a:1, 3.0GB of 4.0GB free" in caplog.text
    assert "device RPC2: on b:2, 1.0GB of 1.0GB free" in caplog.text


@pytest.mark.parametrize("kind", ["lost", "mismatch"])
def test_a_server_that_cannot_be_used_ends_the_start(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RpcStartError, match=f"--rpc: {kind} a:1"):
        _start(monkeypatch, (_failed("a:1", kind), _ONE), ["RPC"])


def test_a_busy_server_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _start(monkeypatch, (_failed("a:1", "busy"),), ["RPC"])
    assert "--rpc: busy a:1" in caplog.text


def test_a_build_without_rpc_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RpcStartError, match="built without RPC"):
        _start(monkeypatch, (_ONE,), ["CUDA", "CPU"])


def test_libraries_that_cannot_be_opened_do_not_end_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _start(monkeypatch, (_ONE,), None)


def test_without_the_flag_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_check, "probe_rpc_servers", None)
    check_rpc_servers(ServerConfig())
