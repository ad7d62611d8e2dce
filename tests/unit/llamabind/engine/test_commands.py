"""change_when_idle: running requests end first, new ones wait, retained prefixes are dropped."""

from tests.support.engine_driver import make_engine, make_request, run, submit, tokens_of

PROMPT = list(range(1, 41))


def _step_until_started(engine, request_id: str) -> None:
    while not any(output.request_id == request_id for output in engine.step()):
        pass


def test_running_requests_end_before_the_change_and_new_ones_start_after_it():
    engine, _ = make_engine(n_ctx=256)
    submit(engine, make_request("old", [1, 2, 3], max_tokens=5))
    _step_until_started(engine, "old")
    submit(engine, make_request("new", [4, 5, 6], max_tokens=2))
    engine.change_when_idle(lambda: order.append("change"))
    order: list[str] = []
    while engine.has_work:
        order += [output.request_id for output in engine.step()]
    changed_at = order.index("change")
    assert "new" not in order[:changed_at]
    assert "old" not in order[changed_at:]
    assert order[-1] == "new"


def test_an_idle_engine_changes_at_once_and_drops_retained_prefixes():
    engine, _ = make_engine(n_ctx=256, cache_ram_bytes=1 << 20)
    submit(engine, make_request("a", PROMPT))
    before = tokens_of(run(engine)["a"])
    changes: list[str] = []
    engine.change_when_idle(lambda: changes.append("x"))
    assert engine.has_work
    engine.step()
    assert (changes, engine.has_work) == (["x"], False)
    assert all(report.n_tokens == 0 for report in engine.report_slots())
    submit(engine, make_request("b", PROMPT))
    after = run(engine)["b"]
    assert after[-1].usage.cached_tokens == 0
    assert tokens_of(after) == before


def test_a_change_drops_states_in_host_memory():
    engine, _ = make_engine(n_ctx=64, cache_ram_bytes=1 << 20, n_slots=1, n_parallel=1)
    for number in range(3):
        submit(engine, make_request(str(number), [number + 1] * 40))
        run(engine)
    assert engine.stats.cache_ram_bytes > 0
    engine.change_when_idle(lambda: None)
    engine.step()
    assert engine.stats.cache_ram_bytes == 0
    engine.check_idle()


def test_a_preempted_sequence_counts_as_started_and_ends_before_the_change():
    # Two sequences with too few cells: one of them is preempted from time to time.
    engine, _ = make_engine(n_ctx=48, n_parallel=2)
    submit(engine, make_request("a", [1] * 16, None), make_request("b", [2] * 16, None))
    _step_until_started(engine, "b")
    ended: list[str] = []
    engine.change_when_idle(lambda: ended.append("change"))
    while engine.has_work:
        ended += [output.request_id for output in engine.step() if output.finish_reason]
    assert ended[-1] == "change"
