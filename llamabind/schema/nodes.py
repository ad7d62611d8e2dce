"""How llama.cpp interprets a node of a JSON schema and resolves references; pure Python."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from llamabind.schema.pointer import part_at

Schema = Mapping[str, Any]

FORMATS: Final = frozenset(
    {"date", "time", "date-time", "uuid", "uuid1", "uuid2", "uuid3", "uuid4", "uuid5"}
)
_MAX_REF_CHAIN: Final = 32


class Resolver:
    """Follows the references of one schema, as llama.cpp does."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._rules: dict[str, str] = {}

    def resolve(self, node: Any) -> Any:
        """Return the node at the end of a chain of references; None if it does not exist."""
        for _ in range(_MAX_REF_CHAIN):
            if not isinstance(node, Mapping) or "$ref" not in node:
                return node
            node = _follow(self._root, node["$ref"])
        return None

    def why_misread(self, ref: str) -> str:
        """Return why the converter would confuse a reference with another one; "" if it does not.

        It does not decode escapes, and its rule names replace all characters but letters, digits
        and dashes.
        """
        if "~" in ref or "%" in ref:
            return f"{ref!r} contains escapes, which are not supported"
        other = self._rules.setdefault(re.sub("[^a-zA-Z0-9-]+", "-", ref), ref)
        return (
            ""
            if other == ref
            else f"{ref!r} is confused with {other!r}, which differs in punctuation only"
        )

    def why_not_followed(self, ref: Any) -> str:
        """Return why a reference cannot be converted; "" if it can."""
        if not isinstance(ref, str):
            return "it is not a string"
        if not ref.startswith("#/"):
            return f"{ref[:60]!r} does not point into the schema, as '#/...' does"
        if reason := self.why_misread(ref):
            return reason
        target = self.resolve({"$ref": ref})
        is_found = target is True or isinstance(target, Mapping)
        return "" if is_found else f"{ref[:60]!r} points to nothing"


def types_of(node: Schema) -> list[str]:
    """Return the types that a node names, in a list."""
    kinds = node.get("type", ())
    return [kinds] if isinstance(kinds, str) else list(kinds)


def is_of_types(kind: str | None, kinds: list[str]) -> bool:
    """Return whether values of type `kind` have one of these types."""
    return kind in kinds or (kind == "integer" and "number" in kinds)


def implied_type(node: Schema) -> str | None:
    """Return the type that llama.cpp assumes for a schema without one; None if it assumes none."""
    if "properties" in node or node.get("additionalProperties", True) is not True:
        return "object"
    if "allOf" in node:
        return None
    if "items" in node or "prefixItems" in node:
        return "array"
    is_text = any(key in node for key in ("pattern", "minLength", "maxLength"))
    form = node.get("format")
    is_text = is_text or (isinstance(form, str) and form in FORMATS)
    return "string" if is_text else None


def unclear_name(properties: Any) -> str | None:
    """Return a property name that the grammar of additional names cannot exclude, or None.

    That grammar consists of character classes, which these names would break.
    """
    for name in properties if isinstance(properties, Mapping) else ():
        if name in ("", "*") or any(letter in '"\\]^\x7f' or letter < " " for letter in name):
            return str(name)
    return None


def counted(node: dict[str, Any], key: str) -> int | None:
    """Return a count such as minItems, with 2.0 made 2 in the node; None if it is no count."""
    value = node[key]
    if isinstance(value, float) and value.is_integer():
        value = node[key] = int(value)
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_count else None


def _follow(root: Any, ref: Any) -> Any:
    """Resolve a JSON pointer as llama.cpp does: without decoding escapes."""
    if not isinstance(ref, str) or not ref.startswith("#/"):
        return None
    return part_at(root, ref[2:].split("/"))
