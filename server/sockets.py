"""The sockets that a server listens on: TCP with or without TLS, and Unix sockets."""

import os
import socket
import ssl
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from server.config import ServerConfig
from server.listening import is_unix_socket

_BACKLOG = 512
# A Unix socket is open to its owner and group; the folder's permissions decide who reaches it.
_SOCKET_UMASK = 0o117


class ListenError(Exception):
    """The server cannot listen on a configured address; the message names it and the reason."""


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
        port = site.port  # with port 0, further addresses use the port that the first one got
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
        raise ListenError(f"cannot listen on {path}: another server is already listening there")
    if path.exists() and not path.is_socket():
        raise ListenError(f"cannot listen on {path}: the file exists and is not a socket")


def _is_served(path: Path) -> bool:
    """Whether a server listens there; asyncio would delete its socket's file without a check."""
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(str(path))
        return True
    return False


def remove_sockets(config: ServerConfig) -> None:
    """Remove the files of the Unix sockets, which asyncio does only from Python 3.13 on."""
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
