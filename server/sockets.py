"""The sockets a server listens on: TCP with or without TLS, and Unix sockets."""

import os
import socket
import ssl
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from server.config import ServerConfig
from server.listening import is_unix_socket

_BACKLOG = 512
# Its owner and group: who may use the server is then a matter of the file's folder.
_SOCKET_UMASK = 0o117


class ListenError(Exception):
    """The server cannot listen where it was told to; says where and why."""


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
    port = config.port
    urls = []
    for host in config.hosts:
        if is_unix_socket(host):
            await _open_unix(runner, Path(host))
            urls.append(f"unix:{host}")
            continue
        host = host.strip("[]")
        site = web.TCPSite(runner, host, port, ssl_context=context, backlog=_BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise ListenError(f"cannot listen on {host}:{port}: {error}") from None
        port = site.port  # of several addresses with port 0, all get the first one's
        urls.append(f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}")
    return urls


async def _open_unix(runner: web.AppRunner, path: Path) -> None:
    _require_free(path)
    before = os.umask(_SOCKET_UMASK)
    try:
        await web.UnixSite(runner, path, backlog=_BACKLOG).start()
    except OSError as error:
        raise ListenError(f"cannot listen on {path}: {error}") from None
    finally:
        os.umask(before)


def _require_free(path: Path) -> None:
    if _is_served(path):
        raise ListenError(f"cannot listen on {path}: another server listens there")
    if path.exists() and not path.is_socket():
        raise ListenError(f"cannot listen on {path}: it is there already and is no socket")


def _is_served(path: Path) -> bool:
    """Whether somebody listens there; asyncio would take the file away from under them."""
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(str(path))
        return True
    return False


def remove_sockets(config: ServerConfig) -> None:
    """Remove the Unix sockets' files: up to Python 3.12 nobody else does."""
    for host in config.hosts:
        if is_unix_socket(host):
            with suppress(OSError):
                Path(host).unlink()


def _make_tls_context(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """A context for TLS 1.2 and later. Raises OSError with a sentence naming the file."""
    for file in (cert_file, key_file):
        with file.open("rb"):  # load_cert_chain names no file in its errors
            pass
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_password)
    except ssl.SSLError as error:
        raise OSError(
            f"{cert_file} and {key_file} are no certificate and key that belong together: "
            f"{error.reason or error}"
        ) from None
    return context


def _no_password() -> str:
    """Without this, OpenSSL would ask at the terminal, which a service has not."""
    raise OSError("the private key is encrypted; this server takes one without a password")
