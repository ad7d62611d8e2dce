"""docs/fields.md describes every endpoint and field as the parsers treat it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.api.operations import OPERATIONS
from server.api.schema.chat import ChatFields
from server.api.schema.sampling import SamplingFields
from server.protocol.load_settings import LoadSettings
from tests.support.field_tables import Endpoint, Section, as_endpoint, paths_of, read_sections
from tests.support.gguf_files import write_gguf
from tests.support.server_app import make_app


def _element(body: Any) -> Any:
    """The type of a body, or of the elements of a body that is an array."""
    return body.__args__[0] if getattr(body, "__origin__", None) is list else body


_SECTIONS = read_sections()
_OVERVIEW = _SECTIONS["Endpoints"]
# Fields that many requests share are described once; docs/loading.md describes those of a load.
_GROUPS: dict[str, type[msgspec.Struct]] = {
    "Sampling fields": SamplingFields,
    "Chat fields": ChatFields,
}
_REQUESTS = {
    endpoint: _element(operation.body)
    for endpoint, operation in OPERATIONS.items()
    if operation.body not in (None, LoadSettings)
}
_REQUEST_SECTIONS = [section for section in _SECTIONS.values() if section.endpoints]
_REFUSED = [
    pytest.param(section.endpoints[0], name, id=f"{section.title}: {name}")
    for section in _REQUEST_SECTIONS
    for name in sorted(section.names("refused"))
]
_EXAMPLES: dict[str, Any] = {
    "messages": [{"role": "user", "content": "echo: a"}],
    "prompt": "echo: a",
    "input": "a",
    "content": "a",
    "tokens": [1],
    "query": "a",
    "documents": ["a"],
    "max_tokens": 5,
    "model": "m.gguf",
}


def _struct(section: Section) -> type[msgspec.Struct]:
    structs = {_REQUESTS[endpoint] for endpoint in section.endpoints}
    assert len(structs) == 1, f"{section.title}: endpoints with different fields"
    struct = structs.pop()
    assert struct is not None
    return struct


def test_every_endpoint_is_listed_with_its_query() -> None:
    listed = {
        as_endpoint(name): row.here for row in _OVERVIEW.rows for name in row.names if " " in name
    }
    served = {endpoint for endpoint, here in listed.items() if not here.startswith("no")}
    assert served == OPERATIONS.keys()
    for endpoint, operation in OPERATIONS.items():
        for name, _ in operation.query:
            assert f"`?{name}`" in listed[endpoint], f"{endpoint}: ?{name}"


def test_every_request_has_one_section() -> None:
    described = [endpoint for section in _REQUEST_SECTIONS for endpoint in section.endpoints]
    assert sorted(described) == sorted(_REQUESTS)


@pytest.mark.parametrize("title", _GROUPS)
def test_a_group_describes_all_its_fields(title: str) -> None:
    struct = _GROUPS[title]
    parents = [group for group in _GROUPS.values() if issubclass(struct, group)]
    parents.remove(struct)
    _assert_described(_SECTIONS[title], paths_of(struct, parents), paths_of(struct))


@pytest.mark.parametrize("section", _REQUEST_SECTIONS, ids=lambda section: section.title)
def test_a_section_describes_all_fields_of_its_requests(section: Section) -> None:
    struct = _struct(section)
    _assert_described(section, paths_of(struct, _GROUPS.values()), paths_of(struct))
    for title, group in _GROUPS.items():
        link = f"(#{title.lower().replace(' ', '-')})"
        takes_group = issubclass(struct, group) or any(
            issubclass(inner, group) for inner in _inner_structs(struct)
        )
        assert (link in section.prose) == takes_group, f"{section.title}: {link}"


def _inner_structs(struct: type[msgspec.Struct]) -> list[type]:
    kinds = (one.type for one in msgspec.structs.fields(struct))
    parts = (getattr(kind, "__args__", (kind,)) for kind in kinds)
    return [part for inner in parts for part in inner if isinstance(part, type)]


def _assert_described(section: Section, expected: set[str], known: set[str]) -> None:
    assert {row.word for row in section.rows} <= {"yes", "checked", "refused", "ignored"}
    assert all(row.peer for row in section.rows), section.title
    names = [name for row in section.rows for name in row.names]
    assert len(names) == len(set(names)), f"{section.title}: described twice"
    assert expected - set(names) == set(), f"{section.title}: fields without a row"
    invented = section.names("yes", "checked", "refused") - known
    assert invented == set(), f"{section.title}: rows without a field"
    assert section.names("ignored") & known == set(), (
        f"{section.title}: described as ignored, but parsed"
    )


@pytest.mark.parametrize(
    "struct", list(dict.fromkeys(_REQUESTS.values())), ids=lambda struct: struct.__qualname__
)
def test_unknown_fields_are_ignored(struct: type[msgspec.Struct]) -> None:
    assert not struct.__struct_config__.forbid_unknown_fields


@pytest.mark.parametrize(("endpoint", "name"), _REFUSED)
async def test_a_refused_field_is_a_400_that_names_it(
    aiohttp_client: AiohttpClient, tmp_path: Path, endpoint: Endpoint, name: str
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path))
    struct = _REQUESTS[endpoint]
    assert struct is not None
    required = {"model": "m.gguf"} | {
        one.encode_name: _EXAMPLES[one.encode_name]
        for one in msgspec.structs.fields(struct)
        if one.required or (endpoint[1].startswith("/api/") and one.encode_name == "prompt")
    }
    for value in (True, "x", 2, ["x"], {"a": 1}):
        response = await client.post(endpoint[1], json=required | {name: value})
        document = await response.json()
        assert response.status == 400, f"{value!r}: {document}"
        error = document["error"]
        param = error["param"] if isinstance(error, dict) else document["param"]
        assert param.split("[")[0] == name, f"{value!r}: {document}"
