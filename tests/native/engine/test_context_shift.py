"""Context shift with llama.cpp: what remains of a full context is computed again."""

import pytest

from tests.support.engine_runs import (
    ENDLESS,
    make_request,
    raw_logprobs,
    run,
    tiny_engine,
    tokens_of,
)

pytestmark = pytest.mark.native

N_CTX = 256


def test_an_answer_goes_on_beyond_the_context_with_the_newer_tokens() -> None:
    with tiny_engine(n_ctx=N_CTX, n_parallel=1, context_shift=True) as engine:
        prompt = [*engine.tokenizer.encode("Once upon a time there was a little")]
        request = make_request("a", prompt, 400, sampling=ENDLESS, n_keep=2, logprobs=0)
        outputs = run(engine, request)["a"]
        tokens = tokens_of(outputs)
        assert len(tokens) == 400
        assert outputs[-1].truncated
        # Right after the first shift the model has read the kept tokens and the newer half.
        n_before = N_CTX - len(prompt)
        context = prompt + tokens[:n_before]
        del context[2 : 2 + (N_CTX - 2) // 2]
        row = raw_logprobs(engine.model, context)[-1]
        logprobs = [logprob for output in outputs for logprob in output.logprobs]
        assert logprobs[n_before].logprob == pytest.approx(row[tokens[n_before]], abs=0.03)
