"""Request options cache_prompt, prompt_logprobs, timings_per_token, t_max_predict_ms and stop."""

from itertools import count

from llamabind.request import FinishReason
from llamabind.scheduling import stop_strings
from tests.support.engine_driver import make_engine, make_request, run, submit, tokens_of

PROMPT = list(range(1, 41))


def test_without_cache_prompt_the_whole_prompt_is_computed():
    engine, _ = make_engine(n_ctx=256)
    submit(engine, make_request("a", PROMPT))
    first = tokens_of(run(engine)["a"])
    submit(engine, make_request("b", PROMPT, cache_prompt=False))
    outputs = run(engine)["b"]
    assert outputs[-1].usage.cached_tokens == 0
    assert tokens_of(outputs) == first
    submit(engine, make_request("c", PROMPT))
    assert run(engine)["c"][-1].usage.cached_tokens == len(PROMPT) - 1


def test_without_cache_prompt_a_request_waits_for_no_prefix():
    engine, _ = make_engine(n_ctx=512)
    submit(engine, make_request("a", PROMPT * 2), make_request("b", PROMPT * 2, cache_prompt=False))
    outputs = run(engine)
    assert outputs["b"][-1].usage.cached_tokens == 0


def test_the_last_output_has_the_sequence_id_that_retains_the_prefix():
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


def test_prompt_logprobs_work_with_max_tokens_zero():
    engine, _ = make_engine()
    submit(engine, make_request("a", [1, 2, 3], max_tokens=0, prompt_logprobs=0))
    [output] = run(engine)["a"]
    assert output.finish_reason is FinishReason.LENGTH
    assert output.token_ids == ()
    assert output.usage.completion_tokens == 0
    # The prompt was computed nevertheless, for the log-probabilities of its tokens.
    [slot] = [report for report in engine.report_slots() if report.n_tokens]
    assert slot.n_tokens == 3


def test_an_answer_with_a_newline_ends_after_t_max_predict_ms():
    seconds = count()
    engine, runner = make_engine(n_ctx=256, clock=lambda: float(next(seconds)))
    runner.model = lambda tokens: ord("\n")
    submit(engine, make_request("a", [1, 2], None, t_max_predict_ms=20_000))
    outputs = run(engine)["a"]
    assert outputs[-1].finish_reason is FinishReason.LENGTH
    assert 1 < outputs[-1].usage.completion_tokens < 100


def test_an_answer_without_a_newline_is_not_limited_by_t_max_predict_ms():
    seconds = count()
    engine, runner = make_engine(n_ctx=64, clock=lambda: float(next(seconds)))
    runner.model = lambda tokens: ord("x")
    submit(engine, make_request("a", [1, 2], None, t_max_predict_ms=1))
    assert run(engine)["a"][-1].usage.completion_tokens == 62


def test_long_stop_strings_are_prepared_before_the_request_is_added():
    engine, _ = make_engine(n_ctx=256)
    request = make_request("r", PROMPT, stop=("a" * 4096, "b" * 4096), template_stop=("<end>",))
    engine.prepare(request)
    before = stop_strings._automaton.cache_info().misses
    engine.add(request)
    run(engine)
    assert stop_strings._automaton.cache_info().misses == before
