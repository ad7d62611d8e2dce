"""choices_at: which words a field of a body may be, for who wrote another one."""

import re
from collections.abc import Iterable, Iterator
from functools import cache

from msgspec import inspect

_STEP = re.compile(r"\w+|\[[^\]]*\]")


@cache
def choices_at(kind: type, path: str) -> tuple[str, ...]:
    """The words at `path`, such as "messages[...].role", of a document of type `kind`; () where it
    leads to something else.
    """
    types: Iterable[inspect.Type] = [inspect.type_info(kind)]
    for step in _STEP.findall(path):
        types = [inner for outer in _flat(types) for inner in _inside(outer, step)]
    found = [
        value
        for leaf in _flat(types)
        if isinstance(leaf, inspect.LiteralType)
        for value in leaf.values
    ]
    return tuple(dict.fromkeys(map(str, found)))


def _flat(types: Iterable[inspect.Type]) -> Iterator[inspect.Type]:
    """Without unions and notes."""
    for kind in types:
        if isinstance(kind, inspect.UnionType):
            yield from _flat(kind.types)
        elif isinstance(kind, inspect.Metadata):
            yield from _flat((kind.type,))
        else:
            yield kind


def _inside(kind: inspect.Type, step: str) -> Iterator[inspect.Type]:
    if step.startswith("["):
        if isinstance(kind, inspect.DictType):
            yield kind.value_type
        elif isinstance(kind, inspect.ListType | inspect.SetType | inspect.VarTupleType):
            yield kind.item_type
    elif isinstance(kind, inspect.StructType):
        yield from (field.type for field in kind.fields if field.encode_name == step)
