"""Access: the keys and the host names that the ingress checks, once for all replicas."""

from collections.abc import Sequence
from pathlib import Path

from server.cli.values.files import key_file
from server.cluster.config import ClusterConfig
from server.cluster.front.paths import is_public
from server.cluster.front.request import HttpRequest
from server.errors import AuthenticationError, ForbiddenError
from server.http.api_keys import KeyRing
from server.http.host_check import host_name
from server.listening.addresses import is_loopback


class Access:
    """Finds the caller of a request. Holds digests of keys, never keys, so it may be sent to the
    processes of the ingress.
    """

    def __init__(self, api_keys: Sequence[str], hosts: Sequence[str] | None) -> None:
        """`hosts` are the names that the Host header may have besides loopback; None is any."""
        self._ring = KeyRing(api_keys, ())
        self._needs_key = bool(api_keys)
        self._hosts = None if hosts is None else {host_name(host) for host in hosts}

    @classmethod
    def of(cls, config: ClusterConfig, *, is_local: bool) -> "Access":
        """Access as the file describes it; `is_local` if the cluster listens on loopback only.

        Raises ValueError for a file of keys that is not valid.
        """
        is_checked = is_local or config.allowed_hosts
        return cls(
            _keys(config.api_key_file),
            config.allowed_hosts if is_checked and "*" not in config.allowed_hosts else None,
        )

    def check(self, request: HttpRequest) -> str:
        """The caller's name: of its key, or its address. Raises AuthenticationError and
        ForbiddenError.
        """
        self._check_host(request)
        key = _key(request)
        caller = self._ring.find(key) if key else None
        if caller is not None:
            return caller.name
        if self._needs_key and not is_public(request.path) and request.method != "OPTIONS":
            raise AuthenticationError(was_given=key is not None)
        return request.client

    def _check_host(self, request: HttpRequest) -> None:
        if self._hosts is None:
            return
        name = host_name(request.headers.get("host", "localhost"))
        if name not in self._hosts and not is_loopback(name):
            raise ForbiddenError(
                f"the Host header's {name!r} is not a name of this cluster; add it to "
                "allowed_hosts",
                code="host_not_allowed",
            )


def why_not_without_key(config: ClusterConfig, host: str | None) -> str:
    """Why the cluster refuses to listen on `host` without keys; "" if it may. None is unknown."""
    is_local = host is not None and is_loopback(host)
    if config.api_key_file or config.insecure_no_auth or is_local:
        return ""
    where = "an address that Ray's settings choose" if host is None else host
    return (
        f"not listening on {where} without a key: every client that reaches it could use the "
        "cluster. Give api_key_file, or insecure_no_auth = true to allow it"
    )


def _keys(path: str | None) -> Sequence[str]:
    return key_file(str(Path(path))) if path is not None else ()


def _key(request: HttpRequest) -> str | None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return request.headers.get("x-api-key", "").strip() or None
