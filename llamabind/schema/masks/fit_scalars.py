"""ScalarFitter: the keywords of strings and numbers, as llguidance takes them."""

from __future__ import annotations

from fractions import Fraction
from math import isfinite
from typing import Any, Final

from llamabind.schema.keywords import is_idle
from llamabind.schema.masks.compiler import why_no_pattern
from llamabind.schema.masks.formats import KNOWN, MAX_LENGTHS, OF_ANY_STRING, PATTERNS, SCHEME
from llamabind.schema.masks.regex import as_rust
from llamabind.schema.nodes import counted, types_of
from llamabind.schema.warning import SchemaWarning, shown
from llamabind.schema.workarounds import MAX_INTEGER

Node = dict[str, Any]

MAX_COUNT: Final = 1_000_000
_MAX_DIVISOR: Final = 10_000
"""The automaton for multiples of a number has about as many states as the number."""

_MAX_NUMBER: Final = 10**15
_LAST_DIGIT: Final = 1e-10
_SMALLEST_BOUND: Final = 1e-9

_LOW: Final = ("minimum", "exclusiveMinimum")
_HIGH: Final = ("maximum", "exclusiveMaximum")


class ScalarFitter:
    """The rules of strings and numbers. Methods change the node in place, which is a copy."""

    def __init__(self) -> None:
        self.warnings: list[SchemaWarning] = []

    def of_scalar(self, kind: str, node: Node, path: str, *, merges: bool) -> None:
        """Fit the keywords that apply to strings or to numbers."""
        match kind:
            case "string":
                self._string(node, path)
            case "number":
                self._number(node, path, merges)
            case _:
                pass  # booleans and null have no keywords

    # -- strings

    def _string(self, node: Node, path: str) -> None:
        self.counts(node, path, "minLength", "maxLength")
        if "pattern" in node:
            if reason := why_no_pattern(node["pattern"]):
                self.warn(f"{path}/pattern", reason)
                del node["pattern"]
            else:
                node["pattern"] = as_rust(node["pattern"])
        if "format" in node:
            self._format(node, path)

    def _format(self, node: Node, path: str) -> None:
        name = node.pop("format")
        if not isinstance(name, str) or name not in PATTERNS.keys() | KNOWN.keys() | OF_ANY_STRING:
            self.warn(f"{path}/format", f"{shown(name)} cannot be enforced")
        elif name in KNOWN:
            node["format"] = KNOWN[name]
            if KNOWN[name] in MAX_LENGTHS:
                node.setdefault("maxLength", MAX_LENGTHS[KNOWN[name]])
            if KNOWN[name] == "uri":
                _also_match(node, SCHEME)
        elif name in PATTERNS:
            _also_match(node, f"^({PATTERNS[name]})$")

    # -- numbers

    def _number(self, node: Node, path: str, merges: bool) -> None:
        self._bounds_of_old_drafts(node)
        for key in (*_LOW, *_HIGH):
            if key in node and not _is_number(node[key]):
                self.warn(f"{path}/{key}", f"{shown(node[key])} is not a number")
                del node[key]
        if "multipleOf" in node:
            self._multiple(node, path)
        low = max((node[key] for key in _LOW if key in node), default=None)
        high = min((node[key] for key in _HIGH if key in node), default=None)
        if low is not None and high is not None and low > high:
            first, *others = (key for key in (*_LOW, *_HIGH) if key in node)
            self.drop(node, path, first, "no number is within the bounds")
            for key in others:
                del node[key]
        elif not merges and not {"enum", "const"} & node.keys():
            _limit_digits(node, low, high)

    @staticmethod
    def _bounds_of_old_drafts(node: Node) -> None:
        """Draft 4 has `exclusiveMinimum: true` beside `minimum`."""
        for inclusive, exclusive in ((_LOW[0], _LOW[1]), (_HIGH[0], _HIGH[1])):
            if isinstance(node.get(exclusive), bool):
                is_exclusive = node.pop(exclusive)
                if is_exclusive and inclusive in node:
                    node[exclusive] = node.pop(inclusive)

    def _multiple(self, node: Node, path: str) -> None:
        value = node["multipleOf"]
        if not _is_number(value) or value <= 0:
            self.drop(node, path, "multipleOf", f"{shown(value)} is not a positive number")
            return
        exact = Fraction(repr(value)) if isinstance(value, float) else Fraction(value)
        if exact.numerator > _MAX_DIVISOR or exact.denominator > 10**9:
            self.drop(node, path, "multipleOf", f"{value} has too many digits")
        elif exact == 1 and types_of(node) == ["integer"]:
            del node["multipleOf"]

    # -- all kinds

    def counts(self, node: Node, path: str, low: str, high: str) -> None:
        """Check two counts, such as minItems and maxItems, and drop what cannot hold."""
        for key in (low, high):
            if key not in node:
                continue
            value = counted(node, key)
            if value is None:
                self.warn(f"{path}/{key}", f"{shown(node[key])} is not a count")
                del node[key]
            elif value > MAX_COUNT and key == high:
                del node[key]  # no answer is as long
            elif value > MAX_COUNT:
                self.drop(node, path, key, f"{value} is above {MAX_COUNT}")
        if node.get(low, 0) > node.get(high, MAX_COUNT):
            self.drop(node, path, low, f"it is above {high}")

    def drop(self, node: Node, path: str, key: str, reason: str) -> None:
        """Remove a keyword, with a warning if it constrains."""
        if key in node:
            if not is_idle(key, node[key]):
                self.warn(f"{path}/{key}", reason)
            del node[key]

    @staticmethod
    def forget(node: Node, key: str) -> None:
        """Remove a keyword that the rest of the node already enforces when it is false."""
        if node.get(key) is False:
            del node[key]

    def warn(self, path: str, reason: str) -> None:
        """Record that the keyword at `path`, or a part of it, is dropped."""
        self.warnings.append(SchemaWarning(path, reason))


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < 10**300 and isfinite(value)


def _limit_digits(node: Node, low: float | None, high: float | None) -> None:
    """Limit how many digits a number has; a small model may write them until max_tokens."""
    kinds = types_of(node)
    if "integer" not in kinds and "number" not in kinds:
        return
    most = _MAX_NUMBER if "number" in kinds else MAX_INTEGER
    if (low is None or low < -most) and (high is None or high > -most):
        node.pop("exclusiveMinimum", None)
        node["minimum"] = -most
    if (high is None or high > most) and (low is None or low < most):
        node.pop("exclusiveMaximum", None)
        node["maximum"] = most
    is_tiny = any(bound and abs(bound) < _SMALLEST_BOUND for bound in (low, high))
    if "number" in kinds and not is_tiny:
        node.setdefault("multipleOf", _LAST_DIGIT)


def _also_match(node: Node, pattern: str) -> None:
    if "pattern" in node:
        node["allOf"] = [*node.get("allOf", ()), {"pattern": pattern}]
    else:
        node["pattern"] = pattern
