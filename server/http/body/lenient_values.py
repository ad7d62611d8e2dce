"""lenient: a JSON document with the values that clients write in another type than the field has.

Languages and forms write 2 as 2.0 or "2", true as "true" or 1, a list of one text as the text, and
an unset number as "". Each has one meaning, so none is a reason to refuse a request.
"""

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import inspect

CLAMPED: Final = {"clamped": True}
"""Marks a number, as Meta(extra=CLAMPED), that is a limit: a value above its maximum means the
same as the maximum, and where the minimum is negative, a value below it the same as the minimum.
"""

CONTENT: Final = {"content": True}
"""Marks the content of a message, as Meta(extra=CONTENT): a part that is a text or any other JSON
stands for a part with that text, and a single part for a list of it.
"""

# Examining a value takes one to two microseconds, on the event loop.
_MAX_VALUES: Final = 50_000
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,400}")
_BOOLEANS: Final = {"true": True, "false": False}
_LISTS: Final = (inspect.ListType, inspect.VarTupleType, inspect.SetType)


def lenient(document: Any, kind: type) -> Any:
    """`document`, decoded JSON, with values converted to the types that `kind` has at their place.

    What cannot be converted stays as it is, and so do values after the first 50,000.
    """
    return _Converter().converted([inspect.type_info(kind)], document)


class _Converter:
    def __init__(self) -> None:
        self._n_left = _MAX_VALUES
        # By identity of the types, which is much cheaper than their hash; `_Place` and `_Fields`
        # hold the types, so that no other object gets their identity.
        self._places: dict[tuple[int, ...], _Place] = {}
        self._fields: dict[int, _Fields] = {}

    def converted(self, kinds: list[inspect.Type], value: Any) -> Any:
        """`value` as one of `kinds`, if it can be."""
        self._n_left -= 1
        if self._n_left < 0:
            return value
        key = tuple(map(id, kinds))
        if (place := self._places.get(key)) is None:
            place = self._places[key] = _Place(kinds)
        options = place.options
        if place.is_content:
            value = _as_parts(value, takes_object=_has_map(options))
        if place.takes_any:
            return value
        if isinstance(value, dict):
            return self._object(options, value)
        if isinstance(value, list):
            items = [one.item_type for one, _ in options if isinstance(one, _LISTS)]
            if items:
                return [self.converted(items, item) for item in value]
            return self._tuple(options, value)
        return _clamped(options, _scalar([one for one, _ in options], value))

    def _object(self, options: "list[_Option]", value: dict[str, Any]) -> dict[str, Any]:
        structs = [one for one, _ in options if isinstance(one, inspect.StructType)]
        for struct in structs:
            if struct.tag is None or value.get(struct.tag_field or "") == struct.tag:
                known = self._types_of(struct)
                return {
                    name: self.converted(known[name], item) if name in known else item
                    for name, item in value.items()
                }
        maps = [one.value_type for one, _ in options if isinstance(one, inspect.DictType)]
        if not maps:
            return value
        return {name: self.converted(maps, item) for name, item in value.items()}

    def _types_of(self, struct: inspect.StructType) -> dict[str, list[inspect.Type]]:
        if (fields := self._fields.get(id(struct))) is None:
            fields = self._fields[id(struct)] = _Fields(struct)
        return fields.types

    def _tuple(self, options: "list[_Option]", value: list[Any]) -> list[Any]:
        for one, _ in options:
            if isinstance(one, inspect.TupleType) and len(one.item_types) == len(value):
                pairs = zip(one.item_types, value, strict=True)
                return [self.converted([kind], item) for kind, item in pairs]
        return value


_Option = tuple[inspect.Type, bool]
"""A type without unions and Metadata, and whether it is marked as CLAMPED."""


class _Place:
    """The types that a value may have at one place of a document."""

    def __init__(self, kinds: list[inspect.Type]) -> None:
        self.kinds = kinds
        self.options = list(_flat(kinds))
        self.takes_any = any(isinstance(one, inspect.AnyType) for one, _ in self.options)
        self.is_content = any(
            isinstance(kind, inspect.Metadata) and _is_content(kind) for kind in kinds
        )


class _Fields:
    """The types of a struct's fields."""

    def __init__(self, struct: inspect.StructType) -> None:
        self.struct = struct
        self.types = {field.encode_name: [field.type] for field in struct.fields}


def _flat(kinds: Iterable[inspect.Type], *, is_clamped: bool = False) -> Iterator[_Option]:
    for kind in kinds:
        if isinstance(kind, inspect.UnionType):
            yield from _flat(kind.types, is_clamped=is_clamped)
        elif isinstance(kind, inspect.Metadata):
            marked = is_clamped or bool(kind.extra and kind.extra.get("clamped"))
            yield from _flat([kind.type], is_clamped=marked)
        else:
            yield kind, is_clamped


def _scalar(kinds: list[inspect.Type], value: Any) -> Any:
    if isinstance(value, str):
        return _of_text(kinds, value)
    takes_float = _has(kinds, inspect.FloatType)
    if isinstance(value, float):
        is_whole = _takes_whole(kinds) and not takes_float and value.is_integer()
        return int(value) if is_whole else value
    if value is False and _is_unset_number(kinds):
        return None  # such as logprobs: false where it is a count
    if isinstance(value, int) and not isinstance(value, bool):
        takes_number = takes_float or _takes_whole(kinds)
        is_switch = _has(kinds, inspect.BoolType) and not takes_number and value in (0, 1)
        return bool(value) if is_switch else value
    return value


def _is_unset_number(kinds: list[inspect.Type]) -> bool:
    takes_number = _takes_whole(kinds) or _has(kinds, inspect.FloatType)
    is_only_number = not any(_has(kinds, kind) for kind in (inspect.BoolType, inspect.StrType))
    return takes_number and is_only_number and _has(kinds, inspect.NoneType)


def _of_text(kinds: list[inspect.Type], value: str) -> Any:
    if _has(kinds, inspect.StrType) or value in _literals(kinds):
        return value
    word = value.strip()
    takes_float, takes_bool = _has(kinds, inspect.FloatType), _has(kinds, inspect.BoolType)
    if takes_bool and word.lower() in _BOOLEANS:
        return _BOOLEANS[word.lower()]
    if takes_float or _takes_whole(kinds):
        return _number(word, kinds, takes_float=takes_float, otherwise=value)
    if not word and takes_bool and _has(kinds, inspect.NoneType):
        return None
    takes_texts = any(isinstance(kind, _LISTS) and _is_text(kind.item_type) for kind in kinds)
    return [value] if takes_texts else value


def _is_content(kind: inspect.Metadata) -> bool:
    return bool(kind.extra and kind.extra.get("content"))


def _has_map(options: "list[_Option]") -> bool:
    return any(isinstance(one, inspect.DictType) for one, _ in options)


def _as_parts(value: Any, *, takes_object: bool) -> Any:
    if isinstance(value, dict):
        return value if takes_object else [_as_part(value)]
    return [_as_part(item) for item in value] if isinstance(value, list) else value


def _as_part(value: Any) -> dict[str, Any]:
    if isinstance(value, dict) and ("type" in value or "text" in value):
        return value
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return {"type": "text", "text": text}


def _literals(kinds: list[inspect.Type]) -> list[str | int | bool | None]:
    return [word for kind in kinds if isinstance(kind, inspect.LiteralType) for word in kind.values]


def _takes_whole(kinds: list[inspect.Type]) -> bool:
    return _has(kinds, inspect.IntType) or any(type(word) is int for word in _literals(kinds))


def _number(
    word: str, kinds: list[inspect.Type], *, takes_float: bool, otherwise: str
) -> int | float | str | None:
    if not word:
        return None if _has(kinds, inspect.NoneType) else otherwise
    if _WHOLE.fullmatch(word):
        return int(word)
    try:
        number = float(word)
    except ValueError:
        return otherwise
    if not math.isfinite(number):
        return otherwise
    if takes_float:
        return number
    return int(number) if number.is_integer() else otherwise


def _clamped(options: list[_Option], value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    for one, is_clamped in options:
        if is_clamped and isinstance(one, inspect.IntType):
            if one.le is not None and value > one.le:
                return one.le
            if one.ge is not None and value < one.ge < 0:
                return one.ge
    return value


def _is_text(kind: inspect.Type) -> bool:
    return any(isinstance(one, inspect.StrType) for one, _ in _flat([kind]))


def _has(kinds: list[inspect.Type], wanted: type[inspect.Type]) -> bool:
    return any(isinstance(kind, wanted) for kind in kinds)
