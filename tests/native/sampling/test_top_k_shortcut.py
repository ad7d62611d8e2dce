"""Choosing among the largest logits only gives what choosing among all of them gives."""

from contextlib import ExitStack

import numpy as np
import pytest

from llamabind._capi import shim
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from llamabind.sampling.chain import min_p_limit, n_best
from llamabind.sampling.params import SamplingParams
from llamabind.sampling.sampler import Sampler, sample_many

pytestmark = pytest.mark.native

BIASED = ((5, -3.0), (6, float("-inf")), (7, -100.0))


@pytest.fixture(scope="module")
def model(vocab_dir):
    with Model(vocab_dir / "ggml-vocab-gpt-2.gguf", ModelParams(vocab_only=True)) as model:
        yield model


def draw(model: Model, params: SamplingParams, logits: np.ndarray, *, all_of_them: bool) -> list:
    with Sampler(model, params) as sampler:
        if all_of_them:
            shim.lb_sampler_set_n_best(sampler.ptr, 0)
            shim.lb_sampler_set_min_p(sampler.ptr, 0.0, 0)
        return [sample_many([sampler], [row.ctypes.data])[0] for row in logits]


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(seed=1),
        SamplingParams(seed=2, top_k=1),
        SamplingParams(seed=3, top_k=5, temperature=2.0, logit_bias=BIASED),
        SamplingParams(seed=4, ignore_eos=True, min_p=0.0, top_p=1.0),
        SamplingParams(temperature=0.0),
        SamplingParams(temperature=0.0, logit_bias=BIASED, ignore_eos=True),
        SamplingParams(seed=5, samplers=("top_k", "temperature"), top_k=300),
    ],
)
def test_the_best_logits_are_enough(model, params):
    assert n_best(model, params) > 0
    logits = np.random.default_rng(0).normal(0, 3, (200, model.n_vocab)).astype(np.float32)
    logits[::3, 5:8] += 20
    logits[::5, 100:] = -np.inf
    assert draw(model, params, logits, all_of_them=False) == draw(
        model, params, logits, all_of_them=True
    )


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(seed=1, top_k=0, top_p=1.0, min_p=0.05),
        SamplingParams(seed=2, top_k=0, top_p=1.0, min_p=0.001, temperature=1.5),
        SamplingParams(seed=3, top_k=0, top_p=1.0, min_p=0.9, ignore_eos=True),
        SamplingParams(seed=4, top_k=0, top_p=1.0, min_p=0.1, logit_bias=BIASED, ignore_eos=True),
        SamplingParams(seed=5, samplers=("min_p", "top_p", "temperature"), min_p=0.02),
        SamplingParams(seed=6, samplers=("min_p", "top_k"), min_p=0.3, top_k=7),
    ],
)
def test_the_logits_that_min_p_keeps_are_enough(model, params):
    assert n_best(model, params) == 0
    assert min_p_limit(model, params) is not None
    logits = np.random.default_rng(0).normal(0, 3, (200, model.n_vocab)).astype(np.float32)
    logits[::3, 5:8] += 20  # tokens that a bias excludes are the best ones
    logits[::4] = np.round(logits[::4])  # many equal logits
    logits[::5, 100:] = -np.inf
    assert draw(model, params, logits, all_of_them=False) == draw(
        model, params, logits, all_of_them=True
    )


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(top_k=0),
        SamplingParams(top_k=0, top_p=1.0, min_p=0.1, min_keep=5),
        SamplingParams(top_k=0, top_p=1.0, min_p=0.1, logit_bias=((5, 2.0),)),
        SamplingParams(top_k=0, top_p=1.0, min_p=0.1, repeat_penalty=1.1),
        SamplingParams(samplers=("temperature", "min_p")),
        SamplingParams(mirostat=2),
    ],
)
def test_what_precedes_min_p_needs_all_logits(model, params):
    assert min_p_limit(model, params) is None


def test_threads_sample_the_tokens_of_one_thread(model):
    logits = np.random.default_rng(0).normal(0, 3, (8, model.n_vocab)).astype(np.float32)
    pointers = [row.ctypes.data for row in logits]

    def sample(n_threads: int) -> list:
        params = [SamplingParams(seed=i, top_k=0, top_p=0.9) for i in range(len(logits))]
        with ExitStack() as open_samplers:
            samplers = [open_samplers.enter_context(Sampler(model, one)) for one in params]
            return [sample_many(samplers, pointers, n_threads=n_threads) for _ in range(3)]

    assert sample(3) == sample(1)


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(top_k=0),
        SamplingParams(repeat_penalty=1.1),
        SamplingParams(dry_multiplier=0.5),
        SamplingParams(top_n_sigma=1.0),
        SamplingParams(mirostat=2),
        SamplingParams(logit_bias=((5, 2.0),)),
        SamplingParams(samplers=("min_p", "top_k")),
        SamplingParams(top_k=5000),
        SamplingParams(temperature=0.0, repeat_penalty=1.1),
        SamplingParams(samplers=("top_k", "adaptive_p")),
    ],
)
def test_whatever_may_lift_a_small_logit_sees_them_all(model, params):
    assert n_best(model, params) == 0


def test_nan_logits_are_detected_at_any_index(model):
    logits = np.zeros((1, model.n_vocab), np.float32)
    logits[0, -1] = np.nan
    with Sampler(model, SamplingParams(seed=1)) as sampler:
        [error] = sample_many([sampler], [logits.ctypes.data])
    assert "NaN" in str(error)
