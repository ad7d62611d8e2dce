"""KeyRing: who a key belongs to, found in a time that tells nothing about the keys."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

_NAME_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a name for the log and for fair turns, never the key itself.

    `is_known` where a key of ours came with the request, or none is needed.
    """

    name: str
    is_admin: bool = False
    is_known: bool = True


class KeyRing:
    """The keys of a server, as digests."""

    def __init__(self, api_keys: Iterable[str], admin_keys: Iterable[str]) -> None:
        self._callers = [
            *((_digest(key), Caller(key_name(key))) for key in api_keys),
            *((_digest(key), Caller(key_name(key, "admin"), is_admin=True)) for key in admin_keys),
        ]

    def find(self, key: str) -> Caller | None:
        """The caller with this key; None if it is none of ours."""
        asked = _digest(key)
        found = None
        # Every one is compared, equal digests in equal time: how long it takes says nothing.
        for digest, caller in self._callers:
            if hmac.compare_digest(digest, asked):
                found = caller
        return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def key_name(key: str, kind: str = "key") -> str:
    """A name that tells keys apart and gives nothing of them away."""
    return f"{kind}-{_digest(key).hex()[:_NAME_DIGITS]}"
