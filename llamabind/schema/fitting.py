"""FittedSchemas: the schemas of tools, relaxed until their grammar can be built; pure Python.

The schema of a tool with `strict` is only checked. Any other loses the keywords that a grammar
cannot express, then its patterns, lengths and counts, finally everything but its top-level type.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock
from typing import Any, Final

from llamabind.errors import GrammarError, InvalidParameterError, LlamaError
from llamabind.schema.relax import (
    relaxed,
    strictly_relaxed,
    without_repetitions,
    without_schema,
)
from llamabind.schema.warning import SchemaWarning
from llamabind.schema.workarounds import completed

_FIELD: Final = re.compile(r"tools\[(?P<index>\d+)\]\.function\.parameters\b")
_RELAXED, _WITHOUT_REPETITIONS, _WITHOUT_SCHEMA = range(3)
_MAX_KNOWN: Final = 64
_DEPTH: Final = 1  # the arguments of a call are not the whole answer


@dataclass(slots=True)
class _LenientSchema:
    """A schema that may be relaxed."""

    where: str
    original: Mapping[str, Any]
    level: int = _RELAXED
    fitted: dict[str, Any] = field(init=False)
    warnings: tuple[SchemaWarning, ...] = ()

    def __post_init__(self) -> None:
        self.fit()

    def fit(self) -> None:
        """Set `fitted` and `warnings` for the current level."""
        schema, warnings = relaxed(self.original, self.where)
        if self.level == _WITHOUT_REPETITIONS:
            before, schema = schema, without_repetitions(schema)
            if schema != before:
                text = "the grammar is too large with its patterns, lengths and counts"
                warnings = (*warnings, SchemaWarning(self.where, text))
        elif self.level == _WITHOUT_SCHEMA:
            schema = without_schema(schema)
            text = "the grammar is too large, so only the top-level type is enforced"
            warnings = (SchemaWarning(self.where, text),)
        self.fitted = completed(schema, _DEPTH)
        self.warnings = warnings

    def weaken(self, most: int = _WITHOUT_SCHEMA) -> bool:
        """Go to the next level, up to `most`, that changes the schema; False if none does."""
        before = self.fitted
        while self.level < most:
            self.level += 1
            self.fit()
            if self.fitted != before:
                return True
        return False


class FittedSchemas:
    """The schemas of one request's tools, with warnings for what is not enforced."""

    def __init__(self, options: Mapping[str, Any], levels: Sequence[int] = ()) -> None:
        """Check the strict schemas and relax the others, from the `levels` of an equal request.

        Raises InvalidParameterError for a strict schema that cannot be enforced.
        """
        self._options = dict(options)
        self._strict: dict[int, Mapping[str, Any]] = {}
        self._lenient: dict[int, _LenientSchema] = {}
        for index, tool in enumerate(options.get("tools") or ()):
            self._take_tool(index, tool)
        for one, level in zip(self._lenient.values(), levels, strict=bool(levels)):
            if level != one.level:
                one.level = level
                one.fit()

    @property
    def is_lenient(self) -> bool:
        """Whether any schema may be relaxed."""
        return bool(self._lenient)

    @property
    def levels(self) -> tuple[int, ...]:
        """The level of each schema that may be relaxed, to reuse for an equal request."""
        return tuple(one.level for one in self._lenient.values())

    @property
    def warnings(self) -> tuple[str, ...]:
        """One text for each keyword that is not enforced."""
        return tuple(str(warning) for one in self._lenient.values() for warning in one.warnings)

    @property
    def options(self) -> dict[str, Any]:
        """The options to render with: relaxed tools, and the original ones as `shown_tools`."""
        options = dict(self._options)
        tools = options.get("tools")
        fitted = [self._fitted_tool(index, tool) for index, tool in enumerate(tools or ())]
        if fitted != list(tools or ()):
            options |= {"tools": fitted, "shown_tools": tools}
        return options

    def weaken(self, error: LlamaError) -> bool:
        """Relax the schema that `error` names, or all; False if nothing is left to relax."""
        if isinstance(error, GrammarError):
            return self._weaken_all()
        if isinstance(error, InvalidParameterError) and (match := _FIELD.match(error.field)):
            one = self._lenient.get(int(match["index"]))
            return one is not None and one.weaken()
        return False

    def _take_tool(self, index: int, tool: Mapping[str, Any]) -> None:
        function: Any = tool.get("function") or {}
        parameters = function.get("parameters")
        if not isinstance(parameters, Mapping):
            return
        where = f"tools[{index}].function.parameters"
        if not function.get("strict"):
            self._lenient[index] = _LenientSchema(where, parameters)
        else:
            self._strict[index] = completed(strictly_relaxed(parameters, where), _DEPTH)

    def _fitted_tool(self, index: int, tool: Mapping[str, Any]) -> Mapping[str, Any]:
        if index in self._strict:
            return _with_parameters(tool, self._strict[index])
        one = self._lenient.get(index)
        return tool if one is None else _with_parameters(tool, one.fitted)

    def _weaken_all(self) -> bool:
        """Drop all repetitions; once they are dropped, drop the larger half of the schemas."""
        lenient = list(self._lenient.values())
        if sum(one.weaken(_WITHOUT_REPETITIONS) for one in lenient):
            return True
        left = [one for one in lenient if one.level < _WITHOUT_SCHEMA]
        left.sort(key=lambda one: len(json.dumps(one.fitted)), reverse=True)
        return sum(one.weaken() for one in left[: (len(left) + 1) // 2]) > 0


class KnownFits:
    """The levels to which the schemas of earlier requests had to be relaxed. Any thread.

    Agents send the same tools with every request, so their levels are searched only once.
    """

    def __init__(self) -> None:
        self._levels: OrderedDict[bytes, tuple[int, ...]] = OrderedDict()
        self._lock = Lock()

    def find(self, key: bytes) -> tuple[int, ...] | None:
        """Return the levels that worked for an equal request, None if there was none."""
        with self._lock:
            levels = self._levels.get(key)
            if levels is not None:
                self._levels.move_to_end(key)
            return levels

    def keep(self, key: bytes, levels: tuple[int, ...]) -> None:
        """Remember levels that worked; the 64 newest requests are kept."""
        with self._lock:
            if key:
                self._levels[key] = levels
            if len(self._levels) > _MAX_KNOWN:
                self._levels.popitem(last=False)


def key_of(options: Mapping[str, Any]) -> bytes:
    """Return a hash that requests with equal schemas share; b"" if the options are not JSON."""
    names = ("tools", "tool_choice", "parallel_tool_calls")
    try:
        text = json.dumps([options.get(name) for name in names])
    except (TypeError, ValueError, RecursionError):
        return b""  # ChatTemplate.render raises the error
    return sha256(text.encode(errors="replace")).digest()


def _with_parameters(tool: Mapping[str, Any], parameters: Any) -> Mapping[str, Any]:
    return {**tool, "function": {**tool["function"], "parameters": parameters}}
