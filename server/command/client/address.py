"""Address: where a server listens, from --url, LLAMABIND_URL or the server's own variables."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from server.command.client.errors import UsageError

DEFAULT_PORT: Final = 8080  # the server's; a test compares them
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# Addresses that a server listens on, but to which nothing connects.
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address. `socket` is the path of a Unix socket, None for TCP; `prefix` goes in
    front of every path. `is_chosen` is False for an address that the user did not give.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    scheme: str = "http"
    prefix: str = ""
    socket: str | None = None
    is_chosen: bool = True

    def __str__(self) -> str:
        if self.socket is not None:
            return f"unix:{self.socket}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"


def parse_address(text: str) -> Address:
    """The address for `http(s)://HOST[:PORT][/PREFIX]`, `HOST:PORT`, `unix:PATH`, or the path of a
    Unix socket, as the server's --host takes it. Raises UsageError.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        return Address(socket=path.removeprefix("//") if path.startswith("///") else path)
    if not _SCHEME.match(text):
        if text.startswith((".", "/", "~")) or text.endswith(".sock"):
            return Address(socket=text)
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"--url: {text!r} is not an address: {error}") from None
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise UsageError(
            f"--url: {text!r} is not an address such as http://127.0.0.1:{DEFAULT_PORT} or "
            "unix:/run/llamabind.sock"
        )
    port = _DEFAULT_PORTS[parts.scheme] if port is None else port
    return Address(host, port, parts.scheme, parts.path.rstrip("/"))


def find_address(url: str | None, environment: Mapping[str, str]) -> Address:
    """The address of `--url`, else of LLAMABIND_URL, else where a server with these variables
    would listen (LLAMA_ARG_HOST, LLAMA_ARG_PORT, LLAMA_ARG_API_PREFIX), else the default.
    """
    if text := url or environment.get("LLAMABIND_URL", ""):
        return parse_address(text)
    hosts = environment.get("LLAMA_ARG_HOST", "")
    port = environment.get("LLAMA_ARG_PORT", "")
    prefix = environment.get("LLAMA_ARG_API_PREFIX", "").rstrip("/")
    if not (hosts or port or prefix):
        return Address(is_chosen=False)
    host = hosts.split(",")[0].strip().strip("[]") or "127.0.0.1"
    if "/" in host or host.endswith(".sock"):
        return Address(socket=host, is_chosen=False)
    # A port that is not a number, or is 0 (any free port), does not say where the server listens.
    number = int(port) if port.isdecimal() and 0 < int(port) < 65_536 else DEFAULT_PORT
    scheme = "https" if environment.get("LLAMA_ARG_SSL_CERT_FILE") else "http"
    return Address(_ANY_ADDRESS.get(host, host), number, scheme, prefix, is_chosen=False)
