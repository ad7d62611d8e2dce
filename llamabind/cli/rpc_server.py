"""`llamabind rpc-server`: lends this machine's devices to models on other machines.

The exit status is 1 if it cannot listen, 2 for wrong flags or a device that does not exist.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from llamabind.cli import sentence

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType
    from typing import NoReturn

DEFAULT_PORT: Final = 50052  # llama.cpp's
_LAST_PORT: Final = 65535
_MAX_CLIENTS: Final = 64
_BACKLOG: Final = 64
_INTERRUPTED: Final = 130
_WARNING: Final = """
The protocol has no keys and no encryption: every program that reaches the port can use these
devices, read the weights and the conversations that pass, and may be able to run code here. Listen
on loopback and use a tunnel (SSH, WireGuard), or on a network that only trusted machines can reach.

  llamabind rpc-server --device CUDA0           on the machine that lends its GPU
  llamabind serve --rpc 127.0.0.1:50052         on the machine with the server, through a tunnel
"""


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if problem := _wrong(options):
        parser.error(problem)
    from llamabind.system.cpus import usable_cpus

    try:
        listener = _listen(options.host, options.port)
        if options.cache is not None:
            options.cache.mkdir(parents=True, exist_ok=True)
            if not os.access(options.cache, os.W_OK):
                return _fail(f"cannot write to the folder {options.cache}")
    except OSError as error:
        return _fail(f"{options.host}:{options.port}: {error.strerror or error}")
    threads = options.threads or usable_cpus()
    return _serve(options, listener, ("--device", options.device, "--threads", str(threads)))


def _serve(options: argparse.Namespace, listener: socket.socket, child: tuple[str, ...]) -> int:
    from llamabind.system.rpc_pool import RpcPool

    pool = RpcPool(listener, child, options.clients, cache=options.cache, report=_say)
    signal.signal(signal.SIGTERM, _end)
    try:
        if status := pool.start():
            return status
        host, port = listener.getsockname()
        print(f"llamabind rpc-server listens on {host}:{port}, without keys or encryption")
        sys.stdout.flush()
        pool.run()
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        pool.close()
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """A listening IPv4 socket, whose connections end when the other machine vanishes."""
    from llamabind.system.keepalive import set_keepalive

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    set_keepalive(listener)
    listener.bind((host, port))
    listener.listen(_BACKLOG)
    return listener


def _wrong(options: argparse.Namespace) -> str:
    """What is wrong with the flags together; "" if nothing is."""
    if options.insecure_rpc or _is_loopback(options.host):
        return ""
    return (
        f"--host {options.host} is not a loopback address, and the protocol has no keys and no "
        "encryption; use 127.0.0.1 with a tunnel, or add --insecure-rpc if only trusted machines "
        "can reach this address"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _say(text: str) -> None:
    print(f"llamabind rpc-server: {text}", file=sys.stderr, flush=True)


def _fail(text: str) -> int:
    _say(text)
    return 1


def make_parser() -> argparse.ArgumentParser:
    """The parser of its flags."""
    parser = argparse.ArgumentParser(
        prog="llamabind rpc-server",
        description=sentence("rpc-server"),
        epilog=_WARNING.replace("%", "%%"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="IPv4 address to listen on (default %(default)s)"
    )
    parser.add_argument(
        "--port",
        type=_number(0, _LAST_PORT),
        default=DEFAULT_PORT,
        help="port, or 0 for a free one (default %(default)s)",
    )
    parser.add_argument(
        "--device",
        default="",
        metavar="NAME,...",
        help="devices to lend, as `llamabind serve --list-devices` names them (default: all GPUs; "
        "without one, the CPU)",
    )
    parser.add_argument(
        "--threads",
        type=_number(1, 512),
        metavar="N",
        help="compute threads of the CPU (default: all CPUs that the process may use)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder for weights of 10 MB and more, so that a second load need not send them again",
    )
    parser.add_argument(
        "--clients",
        type=_number(1, _MAX_CLIENTS),
        default=4,
        metavar="N",
        help="maximum number of clients at once, one for each loaded model (default %(default)s)",
    )
    parser.add_argument(
        "--insecure-rpc",
        action="store_true",
        help="allow addresses other than loopback; read the warning below first",
    )
    return parser


def _number(lowest: int, highest: int) -> type[int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {lowest} to {highest}")
        return int(text)

    return parse  # type: ignore[return-value]
