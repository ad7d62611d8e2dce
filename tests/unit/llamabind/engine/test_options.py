"""Options of a request that change how it is computed: reuse, time, timings, only the prompt."""

from itertools import count

from llamabind.request import FinishReason
from tests.support.engine_driver import make_engine, make_request, run, submit, tokens_of

PROMPT = list(range(1, 41))


def test_a_prompt_is_computed_anew_where_that_is_asked_for():
    engine, _ = make_engine(n_ctx=256)
    submit(engine, make_request("a", PROMPT))
    first = tokens_of(run(engine)["a"])
    submit(engine, make_request("b", PROMPT, cache_prompt=False))
    outputs = run(engine)["b"]
    assert outputs[-1].usage.cached_tokens == 0
    assert tokens_of(outputs) == first
    submit(engine, make_request("c", PROMPT))
    assert run(engine)["c"][-1].usage.cached_tokens == len(PROMPT) - 1


def test_who_takes_nothing_over_waits_for_nobody():
    engine, _ = make_engine(n_ctx=512)
    submit(engine, make_request("a", PROMPT * 2), make_request("b", PROMPT * 2, cache_prompt=False))
    outputs = run(engine)
    assert outputs["b"][-1].usage.cached_tokens == 0


def test_the_last_output_names_the_sequence_id_that_keeps_the_prefix():
    engine, _ = make_engine()
    submit(engine, make_request("a", [1, 2, 3]))
    outputs = run(engine)["a"]
    [slot] = [report for report in engine.report_slots() if report.n_tokens]
    assert outputs[-1].seq_id == slot.seq_id
    assert all(output.seq_id is None for output in outputs[:-1])


def test_every_output_has_timings_on_request():
    engine, _ = make_engine()
    submit(engine, make_request("a", [1, 2], timings_per_token=True), make_request("b", [3, 4]))
    outputs = run(engine)
    assert all(output.timings is not None for output in outputs["a"])
    assert [output.timings is None for output in outputs["b"]][:-1] == [True] * 4


def test_a_prompt_can_be_judged_without_an_answer():
    engine, _ = make_engine()
    submit(engine, make_request("a", [1, 2, 3], max_tokens=0, prompt_logprobs=0))
    [output] = run(engine)["a"]
    assert output.finish_reason is FinishReason.LENGTH
    assert output.token_ids == ()
    assert output.usage.completion_tokens == 0
    # It was computed all the same, to know what follows each token.
    [slot] = [report for report in engine.report_slots() if report.n_tokens]
    assert slot.n_tokens == 3


def test_an_answer_with_a_new_line_ends_when_its_time_is_over():
    moments = count()
    engine, runner = make_engine(n_ctx=256, clock=lambda: float(next(moments)))
    runner.model = lambda tokens: ord("\n")
    submit(engine, make_request("a", [1, 2], None, t_max_predict_ms=20_000))
    outputs = run(engine)["a"]
    assert outputs[-1].finish_reason is FinishReason.LENGTH
    assert 1 < outputs[-1].usage.completion_tokens < 100


def test_an_answer_of_one_line_has_all_the_time_there_is():
    moments = count()
    engine, runner = make_engine(n_ctx=64, clock=lambda: float(next(moments)))
    runner.model = lambda tokens: ord("x")
    submit(engine, make_request("a", [1, 2], None, t_max_predict_ms=1))
    assert run(engine)["a"][-1].usage.completion_tokens == 62
