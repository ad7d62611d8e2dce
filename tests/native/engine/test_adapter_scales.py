"""Scales of LoRA adapters, for the engine and for single requests."""

import pytest

from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import load_engine
from llamabind.errors import InvalidParameterError
from tests.support.engine_runs import make_request, run, tokens_of

pytestmark = pytest.mark.native

PROMPT = (1, 450, 4996, 17354, 1701, 29916)


@pytest.fixture(scope="module")
def engine(random_llama_path, random_lora_path):
    config = EngineConfig(n_ctx=512, n_threads=1)
    lora = [(random_lora_path, 1.0)]
    with load_engine(random_llama_path, config=config, lora=lora) as loaded:
        yield loaded


def _answer(engine, request_id: str, lora: tuple[float, ...] | None = None) -> list[int]:
    request = make_request(request_id, PROMPT, 16, lora=lora)
    return tokens_of(run(engine, request)[request_id])


def test_an_answer_is_that_of_the_current_scale(engine):
    full = _answer(engine, "full")
    engine.set_adapter_scales((0.0,))
    plain = _answer(engine, "plain")
    assert plain != full
    assert engine.adapter_scales == (0.0,)
    engine.set_adapter_scales((1.0,))
    assert _answer(engine, "again") == full
    engine.check_idle()


def test_requests_with_other_scales_run_side_by_side_with_their_own_answers(engine):
    scales = {"full": (1.0,), "plain": (0.0,), "half": (0.5,)}
    alone = {name: _answer(engine, f"{name} alone", lora) for name, lora in scales.items()}
    assert len({tuple(answer) for answer in alone.values()}) > 1
    requests = [make_request(name, PROMPT, 16, lora=lora) for name, lora in scales.items()]
    outputs = run(engine, *requests)
    assert {name: tokens_of(outputs[name]) for name in scales} == alone
    engine.check_idle()


def test_a_prefix_is_reused_by_requests_with_the_same_scales_only(engine):
    prompt = (1, *range(300, 360))
    cached = []
    for number, lora in enumerate([(0.25,), (0.75,), (0.25,)]):
        request = make_request(f"p{number}", prompt, 4, lora=lora)
        cached.append(run(engine, request)[f"p{number}"][-1].usage.cached_tokens)
    assert cached[:2] == [0, 0]
    assert cached[2] == len(prompt) - 1


@pytest.mark.parametrize("scales", [(), (1.0, 1.0), (float("nan"),)])
def test_wrong_scales_are_refused(engine, scales):
    with pytest.raises(InvalidParameterError):
        engine.set_adapter_scales(scales)
