"""LoRA scales per request: one set in a step, turns between sets, no KV shared between them."""

import itertools

import pytest

from llamabind.errors import InvalidParameterError
from llamabind.scheduling.adapter_turns import TURN_STEPS
from tests.support.engine_driver import make_engine, make_request, run, submit, tokens_of

PROMPT = list(range(1, 41))
ON, HALF = (1.0,), (0.5,)


def _engine(**fields):
    engine, runner = make_engine(n_ctx=256, **fields)
    engine.adapter_scales = (0.0,)
    return engine, runner


def _started(engine) -> list[str]:
    return [output.request_id for output in engine.step() if output.token_ids]


def test_every_step_has_sequences_of_one_set_of_adapters_and_none_waits_for_the_end():
    engine, _ = _engine()
    submit(
        engine,
        make_request("plain", [1, 2, 3], 40),
        make_request("on", [1, 2, 3], 40, lora=ON),
        make_request("half", [1, 2, 3], 40, lora=HALF),
    )
    steps = [set(_started(engine)) for _ in range(6 * TURN_STEPS)]
    assert all(len(step) == 1 for step in steps)
    for name in ("plain", "on", "half"):
        # Each waits for at most a turn of each of the two others.
        gaps = [number for number, step in enumerate(steps) if name in step]
        assert gaps[0] <= 2 * TURN_STEPS
        assert max(b - a for a, b in itertools.pairwise(gaps)) <= 2 * TURN_STEPS + 1
    run(engine)


def test_sequences_with_equal_scales_share_steps():
    engine, _ = _engine()
    submit(engine, *(make_request(name, [1, 2, 3], 9, lora=ON) for name in "ab"))
    engine.step()
    assert sorted(_started(engine)) == ["a", "b"]


@pytest.mark.parametrize("fields", [{}, {"kv_unified": False}, {"is_cuttable": False}])
def test_only_prefixes_of_the_same_scales_are_reused(fields: dict):
    engine, _ = _engine(cache_ram_bytes=1 << 20, **fields)
    answers = {}
    for name, scales in (("plain", None), ("on", ON), ("off", (0.0,)), ("again", ON)):
        submit(engine, make_request(name, PROMPT, lora=scales))
        answers[name] = run(engine)[name]
    cached = {name: outputs[-1].usage.cached_tokens for name, outputs in answers.items()}
    assert cached["plain"] == cached["on"] == 0
    # All scales 0 is the same as no adapter.
    assert cached["off"] > 0
    assert cached["again"] > 0
    assert tokens_of(answers["on"]) == tokens_of(answers["again"])


def test_states_in_host_memory_are_those_of_their_scales():
    engine, _ = _engine(cache_ram_bytes=1 << 20, n_slots=1, n_parallel=1)
    for name, scales in (("a", None), ("b", ON), ("c", HALF), ("d", None)):
        submit(engine, make_request(name, PROMPT, lora=scales))
        last = run(engine)[name][-1]
        assert (last.usage.cached_tokens > 0) == (name == "d")
    engine.check_idle()


def test_scales_set_for_the_engine_apply_to_later_requests_only():
    engine, runner = _engine()
    submit(engine, make_request("old", [1, 2, 3], 20))
    engine.step()
    engine.adapter_scales = ON
    submit(engine, make_request("new", [4, 5, 6], 20))
    outputs = run(engine)
    assert len(tokens_of(outputs["old"])) > 1
    held = {cell[2] for cells in runner.kv.values() for cell in cells}
    assert held == {(), ON}


def test_a_number_of_scales_that_the_model_does_not_have_is_refused():
    engine, _ = _engine()
    with pytest.raises(InvalidParameterError, match="2 scales were given, but the model has 1"):
        engine.prepare(make_request("a", [1], lora=(1.0, 1.0)))
