"""The Host check: keeps web pages whose name leads to this machine (DNS rebinding) out."""

import re

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from server.config import ServerConfig
from server.errors import ForbiddenError, InvalidRequestError
from server.listening import is_loopback, is_loopback_only, is_unix_socket

_PORT = re.compile(r":\d*$")


def require_host(config: ServerConfig) -> Middleware:
    """Refuses requests for a name that is not ours.

    Checked when only this machine is listened to, where a browser is the one way in for others, and
    wherever names were configured.
    """
    is_checked = bool(config.allowed_hosts) or is_loopback_only(config)
    listened = {host_name(host) for host in config.hosts if not is_unix_socket(host)}
    allowed = {host_name(host) for host in config.allowed_hosts} | listened

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        hosts = request.headers.getall("Host", [])
        if len(hosts) > 1 or (not hosts and request.version >= (1, 1)):
            raise InvalidRequestError("a request has one Host header", code="bad_host")
        # An HTTP/1.0 request may do without; no browser sends such. Nor reaches a Unix socket.
        if is_checked and hosts and not _came_by_unix_socket(request):
            name = host_name(hosts[0])
            if not (name in allowed or "*" in allowed or is_loopback(name)):
                raise ForbiddenError(
                    f"this server is not {name!r}; --allowed-hosts lists its other names",
                    code="host_not_allowed",
                )
        return await handler(request)

    return check


def host_name(host: str) -> str:
    """A Host header's name: lower case, without port, brackets and the root's dot."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    # More than one colon is an IPv6 address without brackets, as in --host.
    return (_PORT.sub("", name) if name.count(":") == 1 else name).removesuffix(".")


def _came_by_unix_socket(request: web.Request) -> bool:
    transport = request.transport
    return transport is not None and isinstance(transport.get_extra_info("sockname"), str)
