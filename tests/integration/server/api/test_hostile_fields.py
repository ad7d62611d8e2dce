"""Every field of every request, one after the other, with values that no client means."""

import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.api.operations import OPERATIONS
from tests.support.gguf_files import write_gguf
from tests.support.server_app import make_app

_HOSTILE: dict[str, Any] = {
    "a number of 400 digits": 10**400,
    "a negative one": -(1 << 64),
    "a huge one with a point": 1e308,
    "a text of digits": "9" * 5000,
    "long keys and wide numbers": {"9" * 5000: 1 << 70},
    "wide numbers in a list": [1 << 70, ["9" * 5000, 1 << 70]],
}
_MODEL = {"model": "m.gguf", "messages": [{"role": "user", "content": "echo: a"}]}
# The required fields of a request to each path.
_WHOLE: dict[str, dict[str, Any]] = {
    "/v1/responses": {"model": "m.gguf", "input": "echo: a"},
    "/v1/messages": _MODEL | {"max_tokens": 2},
    "/api/generate": {"model": "m.gguf", "prompt": "echo: a", "stream": False},
    "/api/embed": {"model": "m.gguf", "input": "a"},
    "/v1/completions": {"model": "m.gguf", "prompt": "echo: a"},
    "/completion": {"model": "m.gguf", "prompt": "echo: a"},
    "/infill": {"model": "m.gguf", "input_prefix": "a", "input_suffix": "b"},
    "/tokenize": {"model": "m.gguf", "content": "a"},
    "/detokenize": {"model": "m.gguf", "tokens": [1]},
    "/v1/embeddings": {"model": "m.gguf", "input": "a"},
    "/embedding": {"model": "m.gguf", "content": "a"},
    "/v1/rerank": {"model": "m.gguf", "query": "a", "documents": ["b"]},
    "/api/chat": _MODEL | {"stream": False},
    "/v1/chat/completions": _MODEL,
    "/apply-template": _MODEL,
    "/api/v2/chat/{model_id}": _MODEL,
    "/api/v2/models/{model_id}/load": {},
    "/api/v2/models/{model_id}/estimate": {},
    "/api/v2/models/{model_id}/unload": {},
}


def _fields(path: str) -> list[str]:
    body = OPERATIONS["POST", path].body
    kinds = [kind for kind in (body, *get_args(body)) if isinstance(kind, type)]
    structs = [kind for kind in kinds if issubclass(kind, msgspec.Struct)]
    assert structs, path
    return sorted({field.encode_name for kind in structs for field in msgspec.structs.fields(kind)})


@pytest.mark.parametrize("path", _WHOLE)
async def test_no_value_of_any_field_is_a_failure_of_ours(
    aiohttp_client: AiohttpClient, tmp_path: Path, path: str
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path))
    url = path.format(model_id="m.gguf")
    for name in _fields(path):
        for what, value in _HOSTILE.items():
            response = await client.post(url, data=json.dumps(_WHOLE[path] | {name: value}))
            text = await response.text()
            assert response.status < 500, (name, what, text[:500])
            assert len(text) < 60_000, (name, what)
    health = await (await client.get("/api/v2/health")).json()
    assert health["last_error"] is None
