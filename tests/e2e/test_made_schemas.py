"""200 made schemas and a model that babbles: its answers validate, or the request was refused."""

import collections
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from jsonschema.validators import Draft202012Validator
from made_schemas import Schema, made_schemas
from server_process import ServerProcess

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import numpy as np
from gguf_writer import encode_entries, tokenizer_entries, write_gguf
from make_random_model import LlamaShape, llama_metadata, llama_tensors, random_q8_0

pytestmark = pytest.mark.e2e

_BUNDLED = Path(__file__).parents[2] / "llamabind" / "models" / "tiny-chat.gguf"
_MODEL = "random.gguf"
_COUNT = 200
_AT_ONCE = 8
# A uniform choice of 2,048 tokens would hardly ever end a string: what ends something is likelier.
_ENDS = {'"': 7, "}": 5, "]": 5}


def _write_random_model(path: Path) -> None:
    """Random weights with the tokenizer and the template of the bundled model."""
    shape = LlamaShape(n_ctx_train=32_768)  # with tied embeddings it would repeat itself
    vocabulary, n_vocab = tokenizer_entries(_BUNDLED)
    entries = encode_entries(llama_metadata(shape, n_vocab)) + vocabulary
    matrix = random_q8_0(np.random.default_rng(1))
    write_gguf(path, entries, llama_tensors(shape, n_vocab, matrix))


def _ask(server: ServerProcess, schema: Schema, seed: int) -> tuple[str, str]:
    """What became of the request, and its text or the field that is refused."""
    wanted = {"name": "made", "schema": schema}
    body = {
        "model": _MODEL,
        "messages": [{"role": "user", "content": "Say something."}],
        "response_format": {"type": "json_schema", "json_schema": wanted},
        "logit_bias": _ENDS,
        "seed": seed,
        "max_tokens": 500,
    }
    status, document = server.request("POST", "/v1/chat/completions", body)
    if status != 200:
        error = document["error"]
        assert status == 400, (schema, document)
        assert f"{error['param']}{error['message']}".count("json_schema"), (schema, document)
        return "refused", f"{error['param']}: {error['message']}"
    [choice] = document["choices"]
    return choice["finish_reason"], choice["message"]["content"]


def _why_invalid(schema: Schema, text: str) -> str:
    try:
        document: Any = json.loads(text)
    except ValueError as error:
        return f"no JSON: {error}"
    return "; ".join(error.message for error in Draft202012Validator(schema).iter_errors(document))


def test_what_a_babbling_model_says_validates_or_its_schema_was_refused(tmp_path: Path) -> None:
    _write_random_model(tmp_path / _MODEL)
    schemas = made_schemas(_COUNT)
    assert len(schemas) == _COUNT
    with ServerProcess(tmp_path) as server:
        server.post(f"/api/v2/models/{_MODEL}/load", {"threads": 1, "n_ctx": 8192})
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            outcomes = list(pool.map(lambda i: _ask(server, schemas[i], i), range(_COUNT)))
    counts = collections.Counter(outcome for outcome, _ in outcomes)
    refusals = collections.Counter(text for outcome, text in outcomes if outcome == "refused")
    print(f"validated {counts['stop']}, refused {counts['refused']}, cut off {counts['length']}")
    print("\n".join(refusals))
    for schema, (outcome, text) in zip(schemas, outcomes, strict=True):
        if outcome == "stop":
            assert not (why := _why_invalid(schema, text)), (why, text, json.dumps(schema))
    assert counts["stop"] + counts["refused"] + counts["length"] == _COUNT
    # One leaf in 27 is made to be refused, and names and limits are as unlikely as they come.
    assert counts["refused"] <= _COUNT // 4
    assert counts["length"] <= _COUNT // 20
