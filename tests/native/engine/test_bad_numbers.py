"""Keys and values that become NaN spoil the answers of the requests they belong to, and no other.

With flash attention: without it ggml multiplies masked values by 0, and 0 times NaN is NaN. An
adapter whose weights are NaN is refused (tests/native/native/test_lora.py); here they are finite,
but their products are too large for a float.
"""

from pathlib import Path

import pytest

from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import Engine, load_engine
from tests.support.engine_runs import make_request, run, tokens_of
from tests.support.random_gguf import write_random_lora

pytestmark = pytest.mark.native

PROMPT = (1, 450, 4996, 17354, 1701, 29916)
OTHER = (1, 29916, 1701, 300, 301, 302)
N_TOKENS = 24


@pytest.fixture(scope="module")
def bad_lora_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter whose sums overflow, so that infinity minus infinity is NaN."""
    return write_random_lora(tmp_path_factory.mktemp("adapters") / "large.gguf", factor=1e30)


@pytest.fixture(scope="module", params=[True, False], ids=["unified", "split"])
def engine(request, random_llama_path, bad_lora_path):
    config = EngineConfig(
        n_ctx=512,
        n_parallel=4,
        n_threads=1,
        flash_attn="on",
        kv_unified=request.param,
    )
    with load_engine(random_llama_path, config=config, lora=[(bad_lora_path, 0.0)]) as loaded:
        yield loaded


def _answer(engine: Engine, name: str, prompt: tuple[int, ...]) -> list[int]:
    return tokens_of(run(engine, make_request(name, prompt, N_TOKENS))[name])


def test_healthy_sequences_beside_and_after_one_without_numbers_are_unchanged(
    engine: Engine,
) -> None:
    expected = {"a": _answer(engine, "a", PROMPT), "b": _answer(engine, "b", OTHER)}
    outputs = run(
        engine,
        make_request("a", PROMPT, N_TOKENS),
        make_request("bad", (1, *range(300, 400)), N_TOKENS, lora=(1.0,)),
        make_request("b", OTHER, N_TOKENS),
    )
    assert {name: tokens_of(outputs[name]) for name in expected} == expected
    assert outputs["bad"][-1].finish_reason is not None, "it ends, whatever it says"
    # The cells that the spoilt sequence held are used again.
    again = {"a": _answer(engine, "a again", PROMPT), "b": _answer(engine, "b again", OTHER)}
    assert again == expected
    long = (1, *range(500, 720))
    fresh = _answer(engine, "long", long)
    assert fresh == _answer(engine, "long again", long)
    engine.check_idle()
