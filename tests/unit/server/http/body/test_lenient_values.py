"""Values in another type than their field has, where they have one meaning there."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from server.api.operations import OPERATIONS
from server.http.body.lenient_values import CLAMPED, lenient

Limit = Annotated[int, Meta(ge=-1, le=100, extra=CLAMPED)]


class _Part(msgspec.Struct, tag_field="type", tag="part"):
    size: int | None = None


class _Other(msgspec.Struct, tag_field="type", tag="other"):
    size: str | None = None


class _Body(msgspec.Struct):
    whole: int | None = None
    number: float | None = None
    switch: bool | None = None
    limit: Limit | None = None
    level: bool | Literal["low", "high"] | None = None
    choice: Literal[-1, 2] | None = None
    text: str | tuple[str, ...] | None = None
    texts: tuple[str, ...] | None = None
    tokens: tuple[int | str, ...] | None = None
    biases: dict[str, float | bool] | list[tuple[int | str, float | bool]] | None = None
    parts: list[_Part | _Other] | None = None
    anything: dict[str, Any] | None = None


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("whole", 2.0, 2),
        ("whole", "2", 2),
        ("whole", " 2.0 ", 2),
        ("whole", 1e20, 10**20),
        ("whole", "", None),
        ("number", "0.5", 0.5),
        ("number", "1e-3", 0.001),
        ("number", "", None),
        ("switch", 1, True),
        ("switch", 0, False),
        ("switch", "True", True),
        ("switch", "", None),
        ("level", "true", True),
        ("level", 0, False),
        ("level", "low", "low"),
        ("choice", 2.0, 2),
        ("choice", "-1", -1),
        ("limit", 1000, 100),
        ("limit", 1e9, 100),
        ("limit", -7, -1),
        ("text", "2", "2"),
        ("texts", "a", ("a",)),
        ("tokens", [1.0, "2"], (1, "2")),
        ("biases", {"1": "-5"}, {"1": -5}),
        ("biases", [[1.0, "-5"], ["a", False]], [(1, -5), ("a", False)]),
        ("anything", {"a": "1", "b": 2.0}, {"a": "1", "b": 2.0}),
    ],
)
def test_a_value_with_one_meaning_is_taken(name: str, value: Any, expected: Any) -> None:
    body = msgspec.convert(lenient({name: value}, _Body), _Body)
    found = getattr(body, name)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("whole", 2.5),
        ("whole", "2.5"),
        ("whole", "two"),
        ("whole", True),
        ("whole", "1" * 500),
        ("number", "nan"),
        ("number", "inf"),
        ("number", True),
        ("switch", 2),
        ("switch", "yes"),
        ("level", "some"),
        ("choice", 3.0),
        ("text", 5),
        ("texts", 5),
        ("whole", [2]),
        ("parts", [{"type": "part", "size": 1.5}]),
    ],
)
def test_a_value_without_meaning_stays_an_error(name: str, value: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(lenient({name: value}, _Body), _Body)


def test_the_struct_of_a_tagged_object_decides() -> None:
    document = {"parts": [{"type": "part", "size": "3"}, {"type": "other", "size": "3"}]}
    body = msgspec.convert(lenient(document, _Body), _Body)
    assert body.parts is not None
    assert [part.size for part in body.parts] == [3, "3"]


def test_a_body_of_very_many_values_is_left_as_it_is_after_a_while() -> None:
    tokens = lenient({"tokens": [1.0] * 200_000}, _Body)["tokens"]
    assert [type(tokens[0]), type(tokens[-1])] == [int, float]


def _whole_numbers(kind: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of the optional whole numbers at the top of a body."""
    found = []
    for field in msgspec.structs.fields(kind):
        types = [one for one, _ in _flat(field.type)]
        if msgspec.inspect.IntType in types and msgspec.inspect.FloatType not in types:
            found.append((*path, field.encode_name))
    return found


def _flat(kind: Any) -> list[tuple[type, Any]]:
    info = msgspec.inspect.type_info(kind)
    pending, found = [info], []
    while pending:
        one = pending.pop()
        if isinstance(one, msgspec.inspect.UnionType):
            pending += one.types
        elif isinstance(one, msgspec.inspect.Metadata):
            pending.append(one.type)
        else:
            found.append((type(one), one))
    return found


_STRUCTS = {
    operation.body
    for operation in OPERATIONS.values()
    if isinstance(operation.body, type) and issubclass(operation.body, msgspec.Struct)
}


@pytest.mark.parametrize("kind", sorted(_STRUCTS, key=str), ids=lambda kind: kind.__qualname__)
def test_every_whole_number_of_every_dialect_may_be_written_as_a_float(kind: Any) -> None:
    for (name,) in _whole_numbers(kind):
        for value in (2.0, "2"):
            fixed = lenient({name: value}, kind)[name]
            assert (fixed, type(fixed)) == (2, int), name


def test_false_is_an_unset_number() -> None:
    body = {"whole": False, "number": False, "limit": False, "switch": False}
    expected = {"whole": None, "number": None, "limit": None, "switch": False}
    assert lenient(body, _Body) == expected
