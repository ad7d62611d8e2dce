"""Choosing among the largest logits only gives what choosing among all of them gives."""

import numpy as np
import pytest

from llamabind._capi import shim
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from llamabind.sampling.chain import n_best
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
