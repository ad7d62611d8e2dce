"""add_remote_devices: the devices of the operator's RPC servers, for loads that may use them."""

from llamabind import add_rpc_servers
from llamabind.errors import InvalidParameterError, LibraryError
from server.protocol.load_settings import LoadSettings
from server.protocol.loading import Estimate, Load
from server.worker.loading.placement import NO_DEVICE

_PREFIX = "RPC"


def add_remote_devices(load: Load | Estimate) -> None:
    """Add the devices of `load.devices.rpc`, unless the settings keep the model on this machine.

    A process without them neither needs these servers nor gives up its own attention on the CPU.
    Raises RpcServerError for a server that cannot be used, InvalidParameterError in a build without
    RPC.
    """
    if not load.devices.rpc or not uses_remote_devices(load.settings):
        return
    try:
        add_rpc_servers(load.devices.rpc)
    except LibraryError as error:
        raise InvalidParameterError("rpc", str(error)) from error


def uses_remote_devices(settings: LoadSettings) -> bool:
    """Whether a load with these settings may put weights on a remote device."""
    if settings.devices is not None:
        return settings.devices != NO_DEVICE and any(
            name.startswith(_PREFIX) for name in settings.devices
        )
    # Without layers on devices only rules for single tensors place anything there.
    return settings.n_gpu_layers != 0 or bool(settings.override_tensor)
