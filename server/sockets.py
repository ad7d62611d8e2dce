"""The sockets that a server listens on: TCP with or without TLS, and Unix sockets."""

import asyncio
import os
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from server.acceptor import Acceptor
from server.config import ServerConfig
from server.listening import ListenError, is_unix_socket

_BACKLOG = 512
# A Unix socket is open to its owner and group; the permissions of its folder restrict it further.
_SOCKET_UMASK = 0o117


class Site(web.BaseSite):
    """Listening sockets of a runner, served by an Acceptor."""

    def __init__(
        self,
        runner: web.AppRunner,
        listeners: list[socket.socket],
        limit: int,
        context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(runner, ssl_context=context)
        assert runner.server is not None, "the runner is set up"
        self._acceptor = Acceptor(runner.server, listeners, limit, context)

    @property
    def name(self) -> str:
        """The first address, for aiohttp."""
        return str(self._acceptor.sockets[0].getsockname())

    async def start(self) -> None:
        """Begin to accept."""
        await super().start()
        # BaseSite.stop() closes it.
        self._server = self._acceptor  # type: ignore[assignment]
        self._acceptor.start()


async def open_sites(runner: web.AppRunner, config: ServerConfig) -> list[str]:
    """Listen on every address of `config`; returns their URLs. Raises ListenError."""
    try:
        context = (
            _make_tls_context(config.ssl_cert_file, config.ssl_key_file)
            if config.ssl_cert_file and config.ssl_key_file
            else None
        )
    except OSError as error:
        raise ListenError(f"cannot serve HTTPS: {error}") from None
    scheme = "https" if context else "http"
    limit, port = config.max_connections, config.port
    urls = []
    for host in config.hosts:
        if is_unix_socket(host):
            await Site(runner, [_listen_unix(Path(host))], limit).start()
            urls.append(f"unix:{host}")
            continue
        host = host.strip("[]")
        try:
            listeners = await _listen_tcp(host, port, reuse_port=config.reuse_port)
        except OSError as error:
            raise ListenError(f"cannot listen on {host}:{port}: {error}") from None
        await Site(runner, listeners, limit, context).start()
        # With port 0, all further addresses use the port that the first one got.
        port = listeners[0].getsockname()[1]
        urls.append(f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}")
    return urls


async def _listen_tcp(host: str, port: int, *, reuse_port: bool) -> list[socket.socket]:
    """A listening socket for each address of `host`. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
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


def remove_sockets(config: ServerConfig) -> None:
    """Remove the files of the Unix sockets."""
    for host in config.hosts:
        if is_unix_socket(host):
            with suppress(OSError):
                Path(host).unlink()


def _make_tls_context(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """A context for TLS 1.2 and later. Raises OSError whose message names the file."""
    for file in (cert_file, key_file):
        with file.open("rb"):  # raises an error that names the file; load_cert_chain's does not
            pass
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_password)
    except ssl.SSLError as error:
        raise OSError(
            f"{cert_file} and {key_file} are not a certificate and its private key: "
            f"{error.reason or error}"
        ) from None
    return context


def _no_password() -> str:
    """Replaces OpenSSL's password prompt: a service has no terminal."""
    raise OSError("the private key is encrypted; give one without a password")
