"""The Host check against DNS rebinding, where the name of a web page leads to this machine."""

import re

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from server.config import ServerConfig
from server.errors import ForbiddenError, InvalidRequestError
from server.listening.addresses import is_loopback, is_loopback_only, is_unix_socket

# A name or an IPv4 address, or an IPv6 address in brackets; both with an optional port.
_HOST = re.compile(r"(?:([\w.-]+)|\[([0-9a-f:.]+)\])(?::\d*)?", re.ASCII)
# As in --host and --allowed-hosts, where no port can follow.
_BARE_IPV6 = re.compile(r"[0-9a-f.]*:[0-9a-f.]*:[0-9a-f:.]*")


def require_host(config: ServerConfig) -> Middleware:
    """Refuses requests whose Host header is not a name of this server.

    Checked when the server listens on loopback only, where a local browser is the only way in for
    other sites, and whenever --allowed-hosts is given.
    """
    is_checked = bool(config.allowed_hosts) or is_loopback_only(config)
    listened = {host_name(host) for host in config.hosts if not is_unix_socket(host)}
    allowed = {host_name(host) for host in config.allowed_hosts} | listened

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        hosts = request.headers.getall("Host", [])
        if len(hosts) > 1 or (not hosts and request.version >= (1, 1)):
            raise InvalidRequestError(
                f"a request must have exactly one Host header, this one has {len(hosts)}",
                code="bad_host",
            )
        # HTTP/1.0 allows requests without one. The check is about browsers, which send no such
        # requests and cannot connect to Unix sockets.
        if is_checked and hosts and not _came_by_unix_socket(request):
            name = host_name(hosts[0])
            if not (name in allowed or "*" in allowed or _is_local(name)):
                raise ForbiddenError(
                    f"the Host header's {name!r} is not a name of this server; add it to "
                    "--allowed-hosts",
                    code="host_not_allowed",
                )
        return await handler(request)

    return check


def host_name(host: str) -> str:
    """The name in a Host header: lower case, without port, brackets and trailing dot.

    A header that is not of that form is returned as it is: no allowed name equals it.
    """
    name = host.strip().lower()
    if found := _HOST.fullmatch(name):
        return (found[1] or found[2]).removesuffix(".")
    return name


def _is_local(name: str) -> bool:
    # A name that host_name could not take apart may contain a loopback address anywhere.
    return bool(_HOST.fullmatch(name) or _BARE_IPV6.fullmatch(name)) and is_loopback(name)


def _came_by_unix_socket(request: web.Request) -> bool:
    transport = request.transport
    return transport is not None and isinstance(transport.get_extra_info("sockname"), str)
