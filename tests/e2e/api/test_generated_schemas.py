"""200 generated schemas and random weights: each answer validates, or the request is refused."""

import collections
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_writer import encode_entries, tokenizer_entries, write_gguf
from make_random_model import LlamaShape, llama_metadata, llama_tensors, random_q8_0

from tests.support.made_schemas import Schema, made_schemas
from tests.support.mask_walks import why_invalid
from tests.support.paths import ROOT
from tests.support.server_process import ServerProcess

pytestmark = pytest.mark.e2e

_BUNDLED = ROOT / "llamabind" / "models" / "tiny-chat.gguf"
_MODEL = "random.gguf"
_COUNT = 200
_AT_ONCE = 8
_ATTEMPTS = 4
_CHAT, _TEXT = "/v1/chat/completions", "/v1/completions"
_SOME = range(0, _COUNT, 8)
# Chosen uniformly from 2,048 tokens a string would hardly ever end, so end tokens get a bias.
_ENDS = {'"': 7, "}": 5, "]": 5}


def _write_random_model(path: Path) -> None:
    """Write a model of random weights with the bundled model's tokenizer and template."""
    shape = LlamaShape(n_ctx_train=32_768)  # with tied embeddings it would repeat itself
    vocabulary, n_vocab = tokenizer_entries(_BUNDLED)
    entries = encode_entries(llama_metadata(shape, n_vocab)) + vocabulary
    matrix = random_q8_0(np.random.default_rng(1))
    write_gguf(path, entries, llama_tensors(shape, n_vocab, matrix))


def _ask(server: ServerProcess, schema: Schema, seed: int, path: str = _CHAT) -> tuple[str, str]:
    """The outcome of the request, and its text or the refused field. An answer that was cut off is
    requested once more with a higher limit.
    """
    outcome, text = "length", ""
    for attempt in range(_ATTEMPTS):
        if outcome == "length":
            body = {"seed": seed + attempt * _COUNT, "max_tokens": 500 << attempt}
            outcome, text = _ask_once(server, schema, path, body)
    return outcome, text


def _ask_once(
    server: ServerProcess, schema: Schema, path: str, settings: dict[str, int]
) -> tuple[str, str]:
    body: dict[str, Any] = {"model": _MODEL, "logit_bias": _ENDS, **settings}
    if path == _CHAT:
        wanted = {"name": "made", "schema": schema, "strict": True}
        body["messages"] = [{"role": "user", "content": "Say something."}]
        body["response_format"] = {"type": "json_schema", "json_schema": wanted}
    else:
        body |= {"prompt": "Say something.", "json_schema": schema}
    status, document = server.request("POST", path, body)
    if status != 200:
        error = document["error"]
        assert status == 400, (schema, document)
        assert f"{error['param']}{error['message']}".count("json_schema"), (schema, document)
        return "refused", f"{error['param']}: {error['message']}"
    [choice] = document["choices"]
    text = choice["message"]["content"] if path == _CHAT else choice["text"]
    return choice["finish_reason"], text


@pytest.mark.parametrize("impossible", ["2023-02-29", "2023-04-31"])
def test_the_format_checker_refuses_impossible_dates(impossible: str) -> None:
    assert why_invalid({"format": "date"}, f'"{impossible}"')
    assert why_invalid({"format": "date-time"}, f'"{impossible}T10:00:00Z"')
    assert why_invalid({"format": "time"}, '"10:00:60Z"')
    assert not why_invalid({"format": "date-time"}, '"2024-02-29T10:00:00Z"')


def test_every_finished_answer_validates_or_its_schema_was_refused(tmp_path: Path) -> None:
    _write_random_model(tmp_path / _MODEL)
    schemas = made_schemas(_COUNT)
    assert len(schemas) == _COUNT
    with ServerProcess(tmp_path) as server:
        server.post(f"/api/v2/models/{_MODEL}/load", {"threads": 1, "n_ctx": 8192})
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            outcomes = list(pool.map(lambda i: _ask(server, schemas[i], i), range(_COUNT)))
            texts = pool.map(lambda i: _ask(server, schemas[i], i, _TEXT), _SOME)
            outcomes_of_texts = dict(zip(_SOME, texts, strict=True))
    counts = collections.Counter(outcome for outcome, _ in outcomes)
    refusals = collections.Counter(text for outcome, text in outcomes if outcome == "refused")
    print(f"validated {counts['stop']}, refused {counts['refused']}, cut off {counts['length']}")
    print("\n".join(refusals))
    for schema, (outcome, text) in zip(schemas, outcomes, strict=True):
        _assert_kept(schema, outcome, text)
    for index, (outcome, text) in outcomes_of_texts.items():
        # Not strict there: keywords that make a chat refuse the request are dropped instead.
        assert outcome != "refused", schemas[index]
        if outcomes[index][0] != "refused":
            _assert_kept(schemas[index], outcome, text)
    # One leaf in 27 is made to be refused: `uniqueItems`, and counts in patterns with blanks.
    assert counts["refused"] <= _COUNT // 10


def _assert_kept(schema: Schema, outcome: str, text: str) -> None:
    assert outcome in ("stop", "refused"), (outcome, text, json.dumps(schema))
    if outcome == "stop":
        assert not (why := why_invalid(schema, text)), (why, text, json.dumps(schema))
