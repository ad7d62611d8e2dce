"""Devices of RPC servers; a process keeps them until its end, so tests add them in children."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from llamabind._capi import llama
from llamabind.errors import InvalidParameterError, LibraryError, RpcServerError
from llamabind.native import backend
from llamabind.native.kernels import attention_in_use, attention_variants
from llamabind.native.remote_devices import add_rpc_servers, has_remote_devices
from llamabind.self_test_run import _has_gpu
from tests.support.paths import ROOT
from tests.support.rpc_servers import RpcServerProcess

pytestmark = pytest.mark.native

_CHILD = """
import json
import sys
from llamabind import EngineConfig, add_rpc_servers, load_engine
from llamabind.native.kernels import attention_in_use
from llamabind.engine.slot_exchange import SlotExchange
from llamabind.errors import StateError
from llamabind.native import backend
from llamabind.native.remote_devices import keep_connections_alive
from llamabind.self_test_run import MODEL

addresses = sys.argv[1:]
before = add_rpc_servers(addresses[:1])
names = add_rpc_servers(addresses)
engine = load_engine(MODEL, config=EngineConfig(n_ctx=512, n_threads=1, cache_ram_mib=100))
connections = keep_connections_alive()
cache = engine.shape.cache_ram_bytes
try:
    SlotExchange(engine).take(0)
    refusal = ""
except StateError as error:
    refusal = str(error)
engine.close()
devices = [(d.name, d.kind, d.backend, d.description) for d in backend.devices()]
print(json.dumps([before, names, devices, connections, cache, refusal, attention_in_use()]))
"""


def test_devices_have_names_in_the_order_of_their_servers() -> None:
    with RpcServerProcess() as first, RpcServerProcess() as second:
        before, names, devices, connections, cache, refusal, attention = _in_child(
            first.address, second.address
        )
    assert before == ["RPC0"]
    assert names == ["RPC0", "RPC1"]
    remote = [device for device in devices if device[2] == "RPC"]
    assert remote == [
        ["RPC0", "gpu", "RPC", first.address],
        ["RPC1", "gpu", "RPC", second.address],
    ]
    assert connections == 2
    assert cache == 0
    assert "cannot be saved or restored" in refusal
    assert attention == "ggml"


def test_without_a_remote_device_attention_is_ours_in_a_build_with_rpc() -> None:
    # Not skip_without_rpc(): a default build that lost RPC would skip all tests of it.
    if "GGML_RPC=OFF" in os.environ.get("CMAKE_ARGS", ""):
        pytest.skip("the native libraries were built without RPC (GGML_RPC=OFF)")
    assert backend.has_backend("RPC"), "the default build has RPC; set CMAKE_ARGS for another one"
    assert llama.llama_supports_gpu_offload(), "which is why the library asks for a device"
    assert not has_remote_devices()
    assert _has_gpu() == backend.has_gpu()
    expected = "ggml" if backend.has_gpu() else attention_variants()[0]
    assert attention_in_use() == expected


def test_no_server_is_added_if_one_does_not_answer() -> None:
    with RpcServerProcess() as remote, pytest.raises(RpcServerError) as caught:
        add_rpc_servers([remote.address, "127.0.0.1:1"])
    assert caught.value.reason == "rpc_server_lost"
    assert not has_remote_devices()


def test_a_wrong_address_never_reaches_c() -> None:
    with pytest.raises(InvalidParameterError, match="rpc: 'localhost' is not of the form"):
        add_rpc_servers(["localhost"])


def test_a_build_without_rpc_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "has_backend", lambda name: False)
    with pytest.raises(LibraryError, match=r"built without RPC.*GGML_RPC=OFF"):
        add_rpc_servers(["127.0.0.1:1"])


def _in_child(*addresses: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *addresses],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
