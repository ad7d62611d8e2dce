"""Parsers of flags that take a list or an object."""

from collections.abc import Callable
from typing import Any

import msgspec

from llamabind.system.rpc_address import check_rpc_addresses
from server.cli.flag import boolean
from server.cli.values.numbers import integer, number


def words(text: str) -> tuple[str, ...]:
    """The entries of a comma-separated list, without empty ones."""
    return tuple(word for part in text.split(",") if (word := part.strip()))


def keys(text: str) -> tuple[str, ...]:
    """A comma-separated list of at least one key: an empty one would leave the server open."""
    found = words(text)
    if not found:
        raise ValueError("the list contains no key")
    return found


def numbers(text: str) -> tuple[float, ...]:
    """A comma-separated list of numbers."""
    return tuple(number(word) for word in words(text))


def rpc_servers(text: str) -> tuple[str, ...]:
    """Addresses of RPC servers, from `HOST:PORT,...`."""
    return check_rpc_addresses(words(text))


def tensor_rules(text: str) -> tuple[str, ...]:
    """Rules of the form PATTERN=BUFFER; LoadSettings checks them."""
    return words(text)


def device_budgets(text: str) -> tuple[tuple[str, int], ...]:
    """Memory budgets in MB by device, from `NAME=MB,...`."""
    budgets = []
    for word in words(text):
        name, _, amount = word.partition("=")
        if not name or not amount:
            raise ValueError(f"{word!r} is not of the form CUDA0=20000")
        budgets.append((name, integer(1, 1 << 30)(amount)))
    return tuple(budgets)


def metadata(text: str) -> dict[str, Any]:
    """Values by key, from `KEY=TYPE:VALUE,...`."""
    found: dict[str, Any] = {}
    for word in words(text):
        key, _, rest = word.partition("=")
        kind, separator, value = rest.partition(":")
        if not key or not separator or kind not in _KINDS:
            raise ValueError(f"{word!r} is not of the form key=int:1, with int, float, bool or str")
        found[key] = _KINDS[kind](value)
    return found


_KINDS: dict[str, Callable[[str], Any]] = {
    "int": integer(-(1 << 63), (1 << 63) - 1),
    "float": number,
    "bool": boolean,
    "str": str,
}


def json_object(text: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"{text!r} is not a JSON object: {error}") from None
