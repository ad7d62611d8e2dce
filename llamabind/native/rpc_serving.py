"""`python -m llamabind.native.rpc_serving`: one process of `llamabind rpc-server`.

ggml_backend_rpc_start_server listens itself and serves one client after the other, so a second one
waits until the first disconnects. Several processes share one address here: the function listens on
a port of its own first, and while it serves its first client, which is this process, the descriptor
of its listening socket is replaced by the one that all processes inherit.
"""

import argparse
import ctypes
import logging
import os
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from llamabind._capi import ggml
from llamabind.native import backend
from llamabind.system.program import run_program
from llamabind.system.rpc_probe import HELLO, NO_CAPABILITIES, rpc_request

_LOOPBACK: Final = "127.0.0.1"
_START_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.005
WRONG_DEVICE: Final = 2
_CAN_NOT_SERVE: Final = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until the parent's end of stdin closes; returns the exit status of a failure."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # Python's handlers do not run during a C function
    names = _device_names(options.device)
    if not names:
        return WRONG_DEVICE
    if options.cache:
        drop_incomplete(options.cache)
    devices = (ctypes.c_void_p * len(names))(*map(backend.device_handle, names))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threading.Thread(target=_share_listener, args=(options.listener,), daemon=True).start()
    ggml.ggml_backend_rpc_start_server(
        f"{_LOOPBACK}:0".encode(),
        os.fsencode(options.cache) if options.cache else None,
        options.threads,
        len(names),
        devices,
    )
    return _CAN_NOT_SERVE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m llamabind.native.rpc_serving")
    parser.add_argument("--listener", type=int, required=True, help="inherited listening socket")
    parser.add_argument("--device", default="", help="names of devices")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--cache", type=Path, help="folder for weights")
    return parser


def _device_names(wanted: str) -> list[str]:
    """The devices to lend: by default the GPUs, without one the CPU; [] if one does not exist."""
    found = {device.name: device.kind for device in backend.devices()}
    gpus = [name for name, kind in found.items() if kind in ("gpu", "igpu")]
    names = [word for part in wanted.split(",") if (word := part.strip())] or gpus or ["CPU"]
    if missing := [name for name in names if name not in found]:
        sys.stderr.write(f"no device {missing[0]!r}; this machine has {', '.join(found)}\n")
        return []
    if not backend.has_backend("RPC"):
        sys.stderr.write(
            "the native libraries were built without RPC: reinstall llamabind without "
            "GGML_RPC=OFF\n"
        )
        return []
    return names


def drop_incomplete(folder: Path) -> None:
    """Remove the newest file of the cache and empty ones: an earlier process may have ended while
    it wrote, and ggml takes every file as complete.
    """
    files = sorted((file.stat().st_mtime_ns, file) for file in folder.iterdir() if file.is_file())
    for _, file in [*files[-1:], *(one for one in files[:-1] if not one[1].stat().st_size)]:
        file.unlink(missing_ok=True)


def _end_with_parent() -> None:
    """End this process with its parent, however that ends: it holds the other end of stdin."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def _share_listener(listener: int) -> None:
    descriptor, port = _own_listener(listener)
    with socket.create_connection((_LOOPBACK, port)) as client:
        client.sendall(rpc_request(HELLO, NO_CAPABILITIES))
        # The answer shows that this client is accepted; the next one is after our close.
        client.recv(8 + 4 + len(NO_CAPABILITIES), socket.MSG_WAITALL)
        os.dup2(listener, descriptor)
    os.close(listener)


def _own_listener(inherited: int) -> tuple[int, int]:
    """The descriptor and the port of the socket on which ggml listens, once it does."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        # The lowest free descriptors; ggml opens few before this one.
        for descriptor in range(3, 1024):
            if descriptor != inherited and (port := _listening_port(descriptor)):
                return descriptor, port
        time.sleep(_POLL_SECONDS)
    sys.stderr.write("the RPC server does not listen\n")
    os._exit(_CAN_NOT_SERVE)


def _listening_port(descriptor: int) -> int:
    """The port on which a socket listens; 0 for everything else."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return 0
        with socket.socket(fileno=os.dup(descriptor)) as found:
            if found.family != socket.AF_INET:
                return 0
            listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            return int(found.getsockname()[1]) if listens else 0
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(run_program(main))
