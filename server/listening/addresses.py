"""Addresses of --host: which are Unix sockets or loopback, and which need an API key."""

import ipaddress

from server.config import ServerConfig


class ListenError(Exception):
    """The server cannot listen on a configured address; the message names it and the reason."""


def is_unix_socket(host: str) -> bool:
    """Whether `host` is the path of a Unix socket."""
    return "/" in host or host.endswith(".sock")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`; True for Unix sockets."""
    if is_unix_socket(host):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def is_loopback_only(config: ServerConfig) -> bool:
    """Whether no other machine can reach the server."""
    return all(is_loopback(host) for host in config.hosts)


def why_not_without_key(config: ServerConfig) -> str:
    """Why the server refuses to start without a key, and what to do; "" if it may start."""
    if config.api_keys or config.insecure_no_auth or is_loopback_only(config):
        return ""
    exposed = ", ".join(host for host in config.hosts if not is_loopback(host))
    return (
        f"not listening on {exposed} without a key: every client that reaches it could use this "
        "server. Give --api-key-file FILE (or the variable LLAMA_API_KEY), or --insecure-no-auth "
        "to allow it"
    )
