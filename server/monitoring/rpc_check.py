"""check_rpc_servers: asks the RPC servers of --rpc once, before the server listens."""

import json
import logging
import subprocess

from llamabind.system.rpc_probe import probe_rpc_servers
from server.config import ServerConfig
from server.errors import ApiError
from server.formats import byte_size

logger = logging.getLogger(__name__)
_REPORT_SECONDS = 60.0


class RpcStartError(ApiError):
    """The devices of --rpc cannot be used; the message says why."""


def check_rpc_servers(config: ServerConfig) -> None:
    """Log the devices of the RPC servers. Blocks for at most 5 s per start, and once more for the
    start of a process. Raises RpcStartError if a server does not answer, or if the build lacks RPC.
    """
    if not config.rpc:
        return
    states = probe_rpc_servers(config.rpc)
    for state in states:
        if state.error is not None and state.error.reason != "rpc_server_busy":
            raise RpcStartError(f"--rpc: {state.error.detail}")
    if not _has_rpc(config):
        raise RpcStartError(
            "--rpc: the native libraries were built without RPC; reinstall llamabind without "
            "GGML_RPC=OFF"
        )
    index = 0
    for state in states:
        if state.error is not None:
            logger.warning("--rpc: %s", state.error.detail)
        for device in state.devices:
            logger.info(
                "device RPC%d: on %s, %s of %s free",
                index,
                state.address,
                byte_size(device.free),
                byte_size(device.total),
            )
            index += 1


def _has_rpc(config: ServerConfig) -> bool:
    """Ask a process of its own: this one loads no native code. True if it cannot tell."""
    command = (*config.worker_command[:-1], "llamabind", "report", "--json")
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_REPORT_SECONDS, check=False
        )
        native = json.loads(done.stdout)["native"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return True  # the first load says what is wrong
    return native is None or "RPC" in native["backends"]
