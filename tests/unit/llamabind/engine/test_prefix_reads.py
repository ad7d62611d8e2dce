"""New requests wait while a prefix of their prompt is read from a file."""

from __future__ import annotations

from array import array

from llamabind.request import FinishReason
from tests.support.engine_driver import make_engine, make_request, run, submit, tokens_of


class _Source:
    """Reads for the requests that it is told, and never ends."""

    def __init__(self, *request_ids: str) -> None:
        self.request_ids = request_ids
        self.asked: list[tuple[str, array[int]]] = []

    def begin_read(self, request_id, tokens, adapters):
        self.asked.append((request_id, tokens))
        return request_id in self.request_ids


def _engine(*request_ids: str, **fields):
    engine, runner = make_engine(128, **fields)
    engine.prefix_reads.source = _Source(*request_ids)
    return engine, runner


def test_a_request_that_waits_needs_no_step_and_others_run_on():
    engine, runner = _engine("a")
    submit(engine, make_request("a", [1, 2, 3]))
    assert not engine.has_work
    submit(engine, make_request("b", [4, 5, 6]))
    assert set(run(engine)) == {"b"}
    assert engine.stats.waiting == 1
    engine.admit_read("a")
    outputs = run(engine)
    assert len(tokens_of(outputs["a"])) == 5
    assert engine.stats.waiting == 0
    assert runner.prepared == set()


def test_a_late_end_of_a_read_changes_nothing():
    engine, _ = _engine("a")
    submit(engine, make_request("a", [1, 2, 3]))
    engine.admit_read("a")
    engine.admit_read("a")
    engine.admit_read("unknown")
    assert len(tokens_of(run(engine)["a"])) == 5
    engine.admit_read("a")
    assert not engine.has_work


def test_a_request_that_waits_can_be_cancelled_paused_and_failed():
    engine, runner = _engine("a", "b", "c")
    submit(engine, *(make_request(name, [1, 2, 3]) for name in "abc"))
    engine.cancel("a")
    [output] = run(engine)["a"]
    assert output.finish_reason is FinishReason.ABORT
    engine.pause("b")
    assert (engine.stats.paused, engine.stats.waiting) == (1, 1)
    engine.resume("b")
    assert len(tokens_of(run(engine)["b"])) == 5
    [output] = engine.fail_all("broken")
    assert (output.request_id, output.error) == ("c", "broken")
    assert runner.prepared == set()
    assert engine.stats.running == 0


def test_a_closing_engine_ends_the_requests_that_wait():
    engine, runner = _engine("a")
    submit(engine, make_request("a", [1, 2, 3]))
    [output] = engine.abort_all()
    assert output.finish_reason is FinishReason.ABORT
    assert runner.prepared == set()


def test_no_prefix_is_read_for_a_request_that_must_not_use_one():
    engine, _ = _engine("a")
    submit(engine, make_request("a", [1, 2, 3], cache_prompt=False))
    assert len(tokens_of(run(engine)["a"])) == 5
    assert engine.prefix_reads.source.asked == []


def test_slots_and_states_of_requests_with_cache_prompt_false_are_private():
    engine, _ = _engine(n_parallel=1, n_slots=1, cache_ram_bytes=10_000)
    prompts = {"private": range(1, 60), "public": range(60, 120)}
    for name, prompt in prompts.items():
        submit(engine, make_request(name, list(prompt), 2, cache_prompt=name == "public"))
        run(engine)
    [slot] = engine.slots
    assert slot.is_retained
    assert not slot.is_private
    [state] = engine.slots.host
    assert state.is_private
    submit(engine, make_request("again", list(range(200, 256)), 2, cache_prompt=False))
    run(engine)
    assert slot.is_private
    assert [state.is_private for state in engine.slots.host] == [True, False]


def test_an_adopted_state_is_found_like_a_saved_one():
    engine, _ = make_engine(128, cache_ram_bytes=100)
    host = engine.slots.host
    tokens = array("i", range(60))
    state = host.adopt(tokens, 60)
    assert [(found, n) for found, n in host.matches(tokens[:40])] == [(state, 40)]
    assert list(host) == [state]
    assert host.adopt(tokens[:50], 50) is None, "the longer state has these tokens"
    assert host.adopt(array("i", range(500, 700)), 200) is None, "larger than the limit"
    other = host.adopt(array("i", range(100, 150)), 50)
    assert list(host) == [other], "the older one was evicted"
    assert other is not None
    host.drop(other)
    assert host.n_bytes == 0
    host.check()
