"""id_slot: a request runs in the slot that it requests, if no other request runs there."""

from __future__ import annotations

import pytest

from tests.support.engine_driver import (
    expected_answer,
    make_engine,
    make_request,
    run,
    submit,
    tokens_of,
)

A, B = list(range(1, 41)), list(range(100, 140))


def _run(engine, name: str, prompt: list[int], **fields):
    submit(engine, make_request(name, prompt, 3, **fields))
    return run(engine)[name][-1]


@pytest.mark.parametrize("kv_unified", [True, False])
def test_a_request_runs_in_the_slot_that_it_requests(kv_unified):
    engine, _ = make_engine(n_ctx=256, n_parallel=4, kv_unified=kv_unified)
    assert _run(engine, "a", A, id_slot=3).seq_id == 3
    # Ids are taken modulo the number of slots, as in llama-server.
    assert _run(engine, "b", B, id_slot=engine.shape.n_slots + 1).seq_id == 1


@pytest.mark.parametrize("kv_unified", [True, False])
def test_the_requested_slots_prefix_is_reused_if_it_matches_and_replaced_otherwise(kv_unified):
    engine, _ = make_engine(n_ctx=256, n_parallel=4, kv_unified=kv_unified)
    _run(engine, "first", A, id_slot=2)
    again = _run(engine, "again", [*A, 200], id_slot=2)
    assert (again.seq_id, again.usage.cached_tokens) == (2, len(A))
    branch = _run(engine, "branch", [*A[:35], 201, 202], id_slot=2)
    assert (branch.seq_id, branch.usage.cached_tokens) == (2, 35)
    other = _run(engine, "other", B, id_slot=2)
    assert (other.seq_id, other.usage.cached_tokens) == (2, 0)
    assert _run(engine, "gone", A).usage.cached_tokens == 0


def test_a_prefix_in_another_slot_is_copied_to_the_requested_one():
    engine, _ = make_engine(n_ctx=256)
    _run(engine, "here", A, id_slot=0)
    there = _run(engine, "there", [*A, 200], id_slot=5)
    assert (there.seq_id, there.usage.cached_tokens) == (5, len(A))


def test_a_replaced_prefix_is_restored_from_host_memory():
    engine, _ = make_engine(n_ctx=256, cache_ram_bytes=1000)
    _run(engine, "a", A, id_slot=1)
    _run(engine, "b", B, id_slot=1)
    back = _run(engine, "back", [*A, 200], id_slot=1)
    assert (back.seq_id, back.usage.cached_tokens) == (1, len(A))


def test_a_request_whose_slot_is_in_use_runs_in_another():
    engine, _ = make_engine(n_ctx=256, n_parallel=3)
    requests = [make_request(f"r{i}", [i + 1, *B], 5, id_slot=2) for i in range(3)]
    submit(engine, *requests)
    outputs = run(engine)
    seq_ids = [outputs[f"r{i}"][-1].seq_id for i in range(3)]
    assert seq_ids[0] == 2
    assert len(set(seq_ids)) == 3
    for i, request in enumerate(requests):
        expected = expected_answer(list(request.prompt_tokens), 5, 256)
        assert (tokens_of(outputs[f"r{i}"]), outputs[f"r{i}"][-1].finish_reason) == expected


@pytest.mark.parametrize("kv_unified", [True, False])
def test_a_step_has_its_chunks_in_the_order_of_sequence_ids(kv_unified, monkeypatch):
    engine, runner = make_engine(n_ctx=256, n_parallel=4, kv_unified=kv_unified)
    steps: list[list[int]] = []
    compute = runner.run

    def watched(plan):
        steps.append([chunk.slot.seq_id for chunk in plan.chunks])
        return compute(plan)

    monkeypatch.setattr(runner, "run", watched)
    places = (3, 1, 2, 0)
    requests = [make_request(f"r{at}", [at + 1] * 40, 40, id_slot=at) for at in places]
    submit(engine, *requests)
    outputs = run(engine)
    assert [outputs[request.request_id][-1].seq_id for request in requests] == list(places)
    assert sum(len(step) >= 3 for step in steps) >= 5, "they decode together"
    assert all(step == sorted(step) for step in steps)
