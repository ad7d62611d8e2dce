"""Reads docs/fields.md, and the fields of the request structs."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import inspect

from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "fields.md"
_NAME = re.compile(r"`([^`]+)`")
_ENDPOINT = re.compile(r"`((?:GET|POST|DELETE) [^`]+)`")
Endpoint = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its fields or endpoints, what this server does, what llama-server does."""

    names: tuple[str, ...]
    here: str
    peer: str

    @property
    def word(self) -> str:
        """The first word of the second column: yes, checked, refused or ignored."""
        return re.split(r"[^a-z]", self.here, maxsplit=1)[0]


@dataclass(slots=True)
class Section:
    """The text and the rows below one heading."""

    title: str
    prose: str = ""
    rows: list[Row] = field(default_factory=list)

    @property
    def endpoints(self) -> list[Endpoint]:
        """The endpoints whose fields it describes: those named in its first paragraph."""
        first = self.prose.strip().split("\n\n")[0]
        return [as_endpoint(name) for name in _ENDPOINT.findall(first)]

    def names(self, *words: str) -> set[str]:
        """The fields of the rows with one of these words; of all rows without any."""
        rows = (row for row in self.rows if not words or row.word in words)
        return {name for row in rows for name in row.names}


def as_endpoint(text: str) -> Endpoint:
    """`POST /path` as a pair."""
    method, path = text.split(" ")
    return method, path


def read_sections() -> dict[str, Section]:
    """The sections of the document by heading."""
    sections: dict[str, Section] = {}
    for block in DOCUMENT.read_text().split("\n## ")[1:]:
        title, _, body = block.partition("\n")
        section = sections[title] = Section(title)
        for line in body.splitlines():
            if line.startswith("| `"):
                cells = [cell.strip() for cell in line.strip("|").split("|")]
                assert len(cells) == 3, line
                section.rows.append(Row(tuple(_NAME.findall(cells[0])), *cells[1:]))
            else:
                section.prose += line + "\n"
    return sections


def paths_of(kind: type[msgspec.Struct], without: Iterable[type] = ()) -> set[str]:
    """The paths of all fields of a struct and of those inside it, such as messages[].content,
    except fields that it inherits from one of `without`, and those of a struct inside itself.
    """
    return set(_paths(inspect.type_info(kind), "", tuple(without), ()))


def _paths(
    kind: inspect.Type, prefix: str, without: tuple[type, ...], outer: tuple[type, ...]
) -> Iterator[str]:
    match kind:
        case inspect.Metadata(type=inner):
            yield from _paths(inner, prefix, without, outer)
        case inspect.UnionType(types=types):
            for inner in types:
                yield from _paths(inner, prefix, without, outer)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            yield from _paths(item, f"{prefix}[]", without, outer)
        case inspect.StructType(cls=struct, fields=fields) if struct not in outer:
            known = _inherited(struct, without)
            for one in fields:
                if one.encode_name not in known:
                    path = f"{prefix}.{one.encode_name}" if prefix else one.encode_name
                    yield path
                    yield from _paths(one.type, path, without, (*outer, struct))
        case _:
            pass  # a value without fields


def _inherited(struct: type, without: tuple[type, ...]) -> set[str]:
    parents: list[Any] = [parent for parent in without if issubclass(struct, parent)]
    return {one.encode_name for parent in parents for one in msgspec.structs.fields(parent)}
