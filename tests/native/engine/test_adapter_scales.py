"""Scales of LoRA adapters, changed while an engine is open."""

import pytest

from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import load_engine
from llamabind.errors import InvalidParameterError
from tests.support.engine_runs import make_request, run

pytestmark = pytest.mark.native

PROMPT = (1, 450, 4996, 17354, 1701, 29916)


@pytest.fixture(scope="module")
def engine(random_llama_path, random_lora_path):
    config = EngineConfig(n_ctx=512, n_threads=1)
    lora = [(random_lora_path, 1.0)]
    with load_engine(random_llama_path, config=config, lora=lora) as loaded:
        yield loaded


def _answer(engine, request_id: str) -> list[int]:
    request = make_request(request_id, PROMPT, 16)
    return [token for output in run(engine, request)[request_id] for token in output.token_ids]


def _set(engine, *scales: float) -> list[Exception | None]:
    done: list[Exception | None] = []
    engine.set_adapter_scales(scales, done.append)
    while engine.has_work:
        engine.step()
    return done


def test_an_answer_is_that_of_the_current_scale(engine):
    full = _answer(engine, "full")
    assert _set(engine, 0.0) == [None]
    plain = _answer(engine, "plain")
    assert plain != full
    assert engine.adapter_scales == (0.0,)
    assert _set(engine, 1.0) == [None]
    assert _answer(engine, "again") == full
    engine.check_idle()


def test_setting_an_equal_scale_drops_no_prefix(engine):
    _answer(engine, "before")
    kept = [report.n_tokens for report in engine.report_slots()]
    assert max(kept) > 0
    assert _set(engine, *engine.adapter_scales) == [None]
    assert [report.n_tokens for report in engine.report_slots()] == kept


@pytest.mark.parametrize("scales", [(), (1.0, 1.0), (float("nan"),)])
def test_wrong_scales_are_refused(engine, scales):
    with pytest.raises(InvalidParameterError):
        engine.set_adapter_scales(scales, lambda error: None)
