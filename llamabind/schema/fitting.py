"""FittedSchemas: a request's schemas, cut down until their grammar can be built; pure Python.

A schema that must be honoured (`strict` of a tool, `json_schema` unless `lenient_schema`) is only
checked. Any other loses what has no grammar, then its repetitions, at last all of it.
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
from llamabind.schema.check import check_schema
from llamabind.schema.relax import (
    SchemaWarning,
    relaxed,
    without_repetitions,
    without_schema,
)
from llamabind.schema.workarounds import completed

_FIELD: Final = re.compile(r"tools\[(?P<index>\d+)\]\.function\.parameters\b|json_schema\b")
_RELAXED, _WITHOUT_REPETITIONS, _WITHOUT_SCHEMA = range(3)
_MAX_KNOWN: Final = 64


@dataclass(slots=True)
class _LenientSchema:
    """A schema that may be cut down. `depth` is 0 where it is the whole answer's."""

    where: str
    original: Mapping[str, Any]
    depth: int
    level: int = _RELAXED
    fitted: dict[str, Any] = field(init=False)
    warnings: tuple[SchemaWarning, ...] = ()

    def __post_init__(self) -> None:
        self.fit()

    def fit(self) -> None:
        """Make the schema of its level."""
        schema, warnings = relaxed(self.original, self.where, is_whole=self.depth == 0)
        if self.level == _WITHOUT_REPETITIONS:
            before, schema = schema, without_repetitions(schema)
            if schema != before:
                text = "the grammar is too large with its patterns, lengths and counts"
                warnings = (*warnings, SchemaWarning(self.where, text))
        elif self.level == _WITHOUT_SCHEMA:
            schema = without_schema(schema)
            text = "the grammar is too large, so only the top-level type is enforced"
            warnings = (SchemaWarning(self.where, text),)
        self.fitted = completed(schema, self.depth)
        self.warnings = warnings

    def weaken(self, most: int = _WITHOUT_SCHEMA) -> bool:
        """Go to the next level up to `most` that changes something, if there is one."""
        before = self.fitted
        while self.level < most:
            self.level += 1
            self.fit()
            if self.fitted != before:
                return True
        return False


class FittedSchemas:
    """The schemas of one request's template options, and what of them is not enforced."""

    def __init__(self, options: Mapping[str, Any], levels: Sequence[int] = ()) -> None:
        """Check what is strict, and relax the rest; `levels` are those of an equal request.

        Raises InvalidParameterError.
        """
        self._options = dict(options)
        is_lenient = self._options.pop("lenient_schema", False)
        self._lenient: dict[int | None, _LenientSchema] = {}
        for index, tool in enumerate(options.get("tools") or ()):
            self._take_tool(index, tool)
        schema = options.get("json_schema")
        if isinstance(schema, Mapping):
            if is_lenient:
                self._lenient[None] = _LenientSchema("json_schema", schema, 0)
            else:
                self._options["json_schema"] = schema = completed(schema)
                check_schema(schema)
        for one, level in zip(self._lenient.values(), levels, strict=bool(levels)):
            if level != one.level:
                one.level = level
                one.fit()

    @property
    def is_lenient(self) -> bool:
        """Whether any schema may be cut down."""
        return bool(self._lenient)

    @property
    def levels(self) -> tuple[int, ...]:
        """How far each of them is, for an equal request."""
        return tuple(one.level for one in self._lenient.values())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not enforced."""
        return tuple(str(warning) for one in self._lenient.values() for warning in one.warnings)

    @property
    def options(self) -> dict[str, Any]:
        """The options to render with: the model is shown the tools as they came."""
        options = dict(self._options)
        tools = options.get("tools")
        fitted = [self._fitted_tool(index, tool) for index, tool in enumerate(tools or ())]
        if fitted != list(tools or ()):
            options |= {"tools": fitted, "shown_tools": tools}
        if None in self._lenient:
            options["json_schema"] = self._lenient[None].fitted
        return options

    def weaken(self, error: LlamaError) -> bool:
        """Cut down what `error` is about; whether there was anything left to cut."""
        if isinstance(error, GrammarError):
            return self._weaken_all()
        if isinstance(error, InvalidParameterError) and (match := _FIELD.match(error.field)):
            index = match["index"]
            one = self._lenient.get(None if index is None else int(index))
            return one is not None and one.weaken()
        return False

    def _take_tool(self, index: int, tool: Mapping[str, Any]) -> None:
        function: Any = tool.get("function") or {}
        parameters = function.get("parameters")
        if not isinstance(parameters, Mapping):
            return
        where = f"tools[{index}].function.parameters"
        if not function.get("strict"):
            self._lenient[index] = _LenientSchema(where, parameters, 1)
            return
        parameters = completed(parameters, 1)  # the arguments are not the whole
        check_schema(parameters, where)
        tools = list(self._options["tools"])
        tools[index] = _with_parameters(tool, parameters)
        self._options["tools"] = tools

    def _fitted_tool(self, index: int, tool: Mapping[str, Any]) -> Mapping[str, Any]:
        one = self._lenient.get(index)
        return tool if one is None else _with_parameters(tool, one.fitted)

    def _weaken_all(self) -> bool:
        """All lose their repetitions; if that is not enough, the larger half loses its schema."""
        lenient = list(self._lenient.values())
        if sum(one.weaken(_WITHOUT_REPETITIONS) for one in lenient):
            return True
        left = [one for one in lenient if one.level < _WITHOUT_SCHEMA]
        left.sort(key=lambda one: len(json.dumps(one.fitted)), reverse=True)
        return sum(one.weaken() for one in left[: (len(left) + 1) // 2]) > 0


class KnownFits:
    """How far the schemas of earlier requests had to be cut down. Any thread.

    Agents send the same tools with every request: trying their grammar once is enough.
    """

    def __init__(self) -> None:
        self._levels: OrderedDict[bytes, tuple[int, ...]] = OrderedDict()
        self._lock = Lock()

    def find(self, key: bytes) -> tuple[int, ...] | None:
        """The levels that were enough for an equal request, if there was one."""
        with self._lock:
            levels = self._levels.get(key)
            if levels is not None:
                self._levels.move_to_end(key)
            return levels

    def keep(self, key: bytes, levels: tuple[int, ...]) -> None:
        """Remember levels that were enough."""
        with self._lock:
            if key:
                self._levels[key] = levels
            if len(self._levels) > _MAX_KNOWN:
                self._levels.popitem(last=False)


def key_of(options: Mapping[str, Any]) -> bytes:
    """What two requests with equal schemas have in common; b"" if they cannot be compared."""
    names = ("tools", "json_schema", "lenient_schema", "tool_choice", "parallel_tool_calls")
    try:
        text = json.dumps([options.get(name) for name in names])
    except (TypeError, ValueError, RecursionError):
        return b""  # the template's renderer says what is wrong with it
    return sha256(text.encode(errors="replace")).digest()


def _with_parameters(tool: Mapping[str, Any], parameters: Any) -> Mapping[str, Any]:
    return {**tool, "function": {**tool["function"], "parameters": parameters}}
