"""A paused request takes no part in steps and delays no other; the pause changes no token."""

import pytest

from llamabind.engine.core import EngineCore
from tests.support.engine_driver import (
    expected_answer,
    make_engine,
    make_request,
    run,
    submit,
    tokens_of,
)

KINDS = {
    "unified": {},
    "split": {"kv_unified": False},
    "recurrent": {"is_cuttable": False, "cache_ram_bytes": 10_000},
}
PROMPT = [5, 6, 7, 8]
N_CTX = 64


def steps_until(engine: EngineCore, n_tokens: int) -> list[int]:
    """The tokens of the request "a" once it has at least `n_tokens`."""
    tokens: list[int] = []
    while len(tokens) < n_tokens:
        assert engine.has_work, "the answer is too short for this test"
        tokens += tokens_of([one for one in engine.step() if one.request_id == "a"])
    return tokens


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("n_first", [1, 4])
def test_a_resumed_answer_is_the_same(kind: dict, n_first: int) -> None:
    engine, _ = make_engine(N_CTX, **kind)
    submit(engine, make_request("a", PROMPT, 20))
    tokens = steps_until(engine, n_first)
    engine.pause("a")
    assert not engine.has_work
    assert (engine.stats.running, engine.stats.paused) == (0, 1)
    engine.check_idle()
    engine.resume("a")
    assert (engine.stats.waiting, engine.stats.paused) == (1, 0)
    tokens += tokens_of(run(engine)["a"])
    assert tokens == expected_answer(PROMPT, 20, N_CTX)[0]


def test_a_resumed_answer_computes_nothing_again_if_its_cells_are_still_there() -> None:
    engine, _ = make_engine(N_CTX)
    submit(engine, make_request("a", PROMPT, 20))
    steps_until(engine, 4)
    engine.pause("a")
    n_before = engine.stats.prompt_tokens
    engine.resume("a")
    plan_tokens = engine.stats.sequence_steps
    engine.step()
    assert engine.stats.sequence_steps == plan_tokens + 1
    assert engine.stats.prompt_tokens == n_before


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_others_get_the_place_and_the_cells_of_a_paused_request(kind: dict) -> None:
    engine, _ = make_engine(N_CTX, n_parallel=1, **kind)
    submit(engine, make_request("a", PROMPT, 40))
    tokens = steps_until(engine, 30)
    engine.pause("a")
    others = {"b": [9] * 20, "c": [11] * 50}
    submit(engine, *(make_request(name, prompt, 10) for name, prompt in others.items()))
    outputs = run(engine)
    for name, prompt in others.items():
        assert tokens_of(outputs[name]) == expected_answer(prompt, 10, N_CTX)[0]
    engine.resume("a")
    tokens += tokens_of(run(engine)["a"])
    assert tokens == expected_answer(PROMPT, 40, N_CTX)[0]


def test_a_request_that_has_not_started_is_paused_too() -> None:
    engine, _ = make_engine(N_CTX, n_parallel=1)
    submit(engine, make_request("b", [9, 9], 3), make_request("a", PROMPT, 3))
    engine.pause("a")
    assert "a" not in run(engine)
    engine.resume("a")
    assert tokens_of(run(engine)["a"]) == expected_answer(PROMPT, 3, N_CTX)[0]


def test_a_paused_request_is_cancelled() -> None:
    engine, _ = make_engine(N_CTX)
    submit(engine, make_request("a", PROMPT, 20))
    steps_until(engine, 2)
    engine.pause("a")
    engine.pause("a")
    engine.cancel("a")
    [last] = engine.step()
    assert last.finish_reason == "abort"
    for call in (engine.pause, engine.resume):
        call("a")
        call("unknown")
    assert not engine.has_work
    engine.check_idle()


def test_paused_requests_do_not_fill_the_queue() -> None:
    engine, _ = make_engine(N_CTX, max_waiting=1)
    for name in ("a", "b"):
        submit(engine, make_request(name, PROMPT, 20))
        engine.step()
        engine.pause(name)
    submit(engine, make_request("c", [10], 2))
    assert tokens_of(run(engine)["c"]) == expected_answer([10], 2, N_CTX)[0]


@pytest.mark.parametrize("caller", ["slow", "other"])
def test_requests_that_resume_again_and_again_delay_no_new_one_without_an_end(caller: str) -> None:
    engine, _ = make_engine(N_CTX, n_parallel=1)
    slow = ["a", "b", "c"]
    submit(engine, *(make_request(name, PROMPT, 50, caller="slow") for name in slow))
    submit(engine, make_request("new", [10], 2, caller=caller))
    n_steps = 0
    ended: set[str] = set()
    while "new" not in ended:
        outputs = engine.step()
        ended |= {one.request_id for one in outputs if one.finish_reason is not None}
        n_steps += 1
        assert n_steps < 40, "the new request waits while others resume"
        for name in {one.request_id for one in outputs} & set(slow):
            engine.pause(name)
            engine.resume(name)
    assert not ended & set(slow)
