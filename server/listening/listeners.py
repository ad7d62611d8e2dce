"""open_listeners: opens the sockets of all addresses before the server does any work for them.

It imports no aiohttp, so that an address in use ends the start before a model is loaded.
"""

import errno
import os
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.config import ServerConfig
from server.listening.addresses import ListenError, is_unix_socket
from server.listening.tls import tls_context

_BACKLOG = 512
# A Unix socket is open to its owner and group; the permissions of its folder restrict it further.
_SOCKET_UMASK = 0o117


@dataclass(frozen=True, slots=True)
class Listener:
    """One address of --host: its URL, and its sockets, one for each address of a host name.

    `tls` is None for plain HTTP, as on Unix sockets.
    """

    url: str
    sockets: tuple[socket.socket, ...]
    tls: ssl.SSLContext | None = None


@dataclass(slots=True)
class Listeners:
    """The open sockets of all addresses; clients can connect, and wait until a site accepts."""

    all: list[Listener] = field(default_factory=list)
    _files: list[Path] = field(default_factory=list)

    def close(self) -> None:
        """Close the sockets, and remove the files of Unix sockets."""
        for listener in self.all:
            for one in listener.sockets:
                one.close()
        self.remove_files()

    def remove_files(self) -> None:
        """Remove the files of the Unix sockets that this object has opened, once."""
        while self._files:
            with suppress(OSError):
                self._files.pop().unlink()

    def open(self, config: ServerConfig) -> None:
        """Open the sockets of every address of `config`. Raises ListenError."""
        tls = tls_context(config)
        scheme, port = "https" if tls else "http", config.port
        for host in config.hosts:
            if is_unix_socket(host):
                self.all.append(Listener(f"unix:{host}", (_listen_unix(Path(host)),)))
                self._files.append(Path(host))
                continue
            host = host.strip("[]")
            try:
                sockets = _listen_tcp(host, port, reuse_port=config.reuse_port)
            except OSError as error:
                raise ListenError(f"cannot listen on {host}:{port}: {_why(error)}") from None
            # With port 0, all further addresses use the port that the first one got.
            port = sockets[0].getsockname()[1]
            named = f"[{host}]" if ":" in host else host
            self.all.append(Listener(f"{scheme}://{named}:{port}", tuple(sockets), tls))


def open_listeners(config: ServerConfig) -> Listeners:
    """Listen on every address of `config`. Blocks while a host name is looked up.

    Raises ListenError; all sockets are closed then.
    """
    listeners = Listeners()
    try:
        listeners.open(config)
    except BaseException:
        listeners.close()
        raise
    return listeners


def _listen_tcp(host: str, port: int, *, reuse_port: bool) -> list[socket.socket]:
    """A listening socket for each address of `host`. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            if not port and listeners:
                address = (address[0], listeners[0].getsockname()[1], *address[2:])
            listener = socket.socket(family, kind, protocol)
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _listen(listener, address)
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _listen(listener: socket.socket, address: Any) -> None:
    listener.bind(address)
    listener.listen(_BACKLOG)
    listener.setblocking(False)


def _why(error: OSError) -> str:
    """The reason, and for an address in use what to do."""
    if error.errno == errno.EADDRINUSE:
        return "another program listens there; stop it, or choose another --port"
    return str(error)


def _listen_unix(path: Path) -> socket.socket:
    """Listen on a Unix socket; replaces a file without a server. Raises ListenError."""
    _require_free(path)
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(_SOCKET_UMASK)
    try:
        path.unlink(missing_ok=True)
        _listen(listener, str(path))
    except OSError as error:
        listener.close()
        raise ListenError(f"cannot listen on {path}: {error}") from None
    finally:
        os.umask(before)
    return listener


def _require_free(path: Path) -> None:
    if _is_served(path):
        raise ListenError(f"cannot listen on {path}: another server is already listening there")
    if path.exists() and not path.is_socket():
        raise ListenError(f"cannot listen on {path}: the file exists and is not a socket")


def _is_served(path: Path) -> bool:
    """Whether a server listens there, whose file must not be replaced."""
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(str(path))
        return True
    return False
