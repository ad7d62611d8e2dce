"""Sequences whose logits only their sampler reads get the tokens of the general way."""

from llamabind import EngineConfig, GenerationRequest, SamplingParams
from llamabind.engine.engine import Engine, load_engine
from llamabind.self_test_run import MODEL


def _tokens(engine: Engine, n: int, logprobs: int | None) -> list[list[int]]:
    answers: dict[str, list[int]] = {str(index): [] for index in range(n)}
    for index in range(n):
        request = GenerationRequest(
            request_id=str(index),
            prompt_tokens=(5 + index, 9, 17),
            sampling=SamplingParams(temperature=0.9, seed=index, ignore_eos=True),
            max_tokens=12,
            logprobs=logprobs,
        )
        engine.prepare(request)
        engine.add(request)
    while engine.has_work:
        for output in engine.step():
            answers[output.request_id] += output.token_ids
    return list(answers.values())


def test_the_tokens_are_those_of_the_same_requests_with_logprobs():
    with load_engine(MODEL, config=EngineConfig(n_ctx=512, n_parallel=5, n_threads=1)) as engine:
        plain = _tokens(engine, 5, None)
        assert all(len(tokens) == 12 for tokens in plain)
        assert plain == _tokens(engine, 5, 0)
