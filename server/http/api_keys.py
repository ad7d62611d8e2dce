"""KeyRing: finds the caller of an API key in a time that reveals nothing about the keys."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

_NAME_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Caller:
    """The client of a request. `name` is for the log and the fair queue, never the key itself.

    `is_known` is True if the request carries a valid key, or none is needed.
    """

    name: str
    is_admin: bool = False
    is_known: bool = True


class KeyRing:
    """The keys of a server, kept as digests."""

    def __init__(self, api_keys: Iterable[str], admin_keys: Iterable[str]) -> None:
        self._callers = [
            *((_digest(key), Caller(key_name(key))) for key in api_keys),
            *((_digest(key), Caller(key_name(key, "admin"), is_admin=True)) for key in admin_keys),
        ]

    def find(self, key: str) -> Caller | None:
        """The caller with this key; None for an unknown key."""
        wanted = _digest(key)
        found = None
        # All digests are compared, each in constant time: the duration depends on no key.
        for digest, caller in self._callers:
            if hmac.compare_digest(digest, wanted):
                found = caller
        return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def key_name(key: str, kind: str = "key") -> str:
    """A name for a key in logs: `kind` and 8 hex digits of its hash."""
    return f"{kind}-{_digest(key).hex()[:_NAME_DIGITS]}"
