"""Which loads may use the devices of RPC servers."""

import pytest

from server.protocol.load_settings import LoadSettings
from server.worker.loading.remote import uses_remote_devices


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_gpu_layers": 5},
        {"n_gpu_layers": -1},
        {"devices": ("CUDA0", "RPC1")},
        {"n_gpu_layers": 0, "override_tensor": ("exps=RPC0[a:1]",)},
    ],
)
def test_a_load_that_may_put_weights_there(settings) -> None:
    assert uses_remote_devices(LoadSettings(**settings))


@pytest.mark.parametrize(
    "settings", [{"n_gpu_layers": 0}, {"devices": ("none",)}, {"devices": ("CUDA0",)}]
)
def test_a_load_that_stays_on_this_machine(settings) -> None:
    assert not uses_remote_devices(LoadSettings(**settings))
