"""check_rpc_address: the address of an RPC server, checked before it reaches C.

ggml splits an address at its first colon and aborts the process if it cannot parse or resolve it.
"""

import re
from typing import Final

MAX_RPC_SERVERS: Final = 16
"""GGML_RPC_MAX_SERVERS of ggml-rpc.h."""

_ADDRESS: Final = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?):([0-9]{1,5})")
_LAST_PORT: Final = 65535


def check_rpc_address(text: str) -> str:
    """Return `text`, an address of the form HOST:PORT. Raises ValueError with a sentence."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        hint = "; IPv6 addresses are not supported" if text.count(":") > 1 else ""
        raise ValueError(f"{text!r} is not of the form HOST:PORT, such as 10.0.0.2:50052{hint}")
    if not 1 <= int(found[2]) <= _LAST_PORT:
        raise ValueError(f"{text!r} has port {found[2]}, expected 1 to {_LAST_PORT}")
    return text


def check_rpc_addresses(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Return `addresses`: valid, different, and as many as ggml takes. Raises ValueError."""
    for address in addresses:
        check_rpc_address(address)
    if len(set(addresses)) < len(addresses):
        twice = next(address for address in addresses if addresses.count(address) > 1)
        raise ValueError(f"{twice} is given twice")
    if len(addresses) > MAX_RPC_SERVERS:
        raise ValueError(f"{len(addresses)} RPC servers, at most {MAX_RPC_SERVERS} are possible")
    return addresses
