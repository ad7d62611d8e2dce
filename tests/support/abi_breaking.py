"""Makes wrong declarations, as a typing error or an update of llama.cpp would."""

import ctypes
import types
from collections.abc import Callable
from typing import Any
from typing import get_type_hints as read_annotations

from llamabind._capi.annotations import FIELDS, STRUCTS, CType
from llamabind._capi.loader import DECLARATIONS, Declaration
from tests.support.abi_declared import Lines, function_lines, struct_lines

Fields = dict[str, CType]
Annotations = dict[str, Any]


def struct_with(name: str, change: Callable[[Fields], Fields]) -> Lines:
    """The lines of struct `name`, declared with other fields."""
    old, fields = STRUCTS[name], change(dict(FIELDS[name]))
    body: dict[str, Any] = {"_fields_": [(field, kind.ctype) for field, kind in fields.items()]}
    if hasattr(old, "_c_type_"):
        body["_c_type_"] = old._c_type_
    if anonymous := [field for field in getattr(old, "_anonymous_", ()) if field in fields]:
        body["_anonymous_"] = anonymous
    return struct_lines(type(name, (ctypes.Structure,), body), fields)


def function_with(name: str, change: Callable[[Annotations], Annotations]) -> Lines:
    """The line of function `name`, declared with other arguments or another result."""
    old = DECLARATIONS[name]
    function = types.FunctionType(old.function.__code__, old.function.__globals__, name)
    function.__annotations__ = change(read_annotations(old.function, include_extras=True))
    return function_lines(Declaration(name, old.library, function))


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda items: {name: item for name, item in items.items() if name != key}


def swapped(first: str, second: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    other = {first: second, second: first}

    def change(items: dict[str, Any]) -> dict[str, Any]:
        return {other.get(name, name): items[other.get(name, name)] for name in items}

    return change


def replaced(key: str, item: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda items: items | {key: item}
