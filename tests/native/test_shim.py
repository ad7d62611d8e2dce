"""libllamabind's build facts, log-probabilities and memory figures."""

import ctypes
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from llamabind._capi import llama, shim, stamp, types
from llamabind._capi.shim import lb_status
from llamabind._capi.shim_text import last_error, take_text
from llamabind.context.context import Context
from llamabind.native.model import Model

pytestmark = pytest.mark.native

STRUCTS = (
    "llama_batch",
    "llama_chat_message",
    "llama_context_params",
    "llama_logit_bias",
    "llama_model_params",
    "llama_model_quantize_params",
    "llama_opt_params",
    "llama_sampler_chain_params",
    "llama_sampler_seq_config",
    "llama_token_data",
    "llama_token_data_array",
    "mtmd_context_params",
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def _pointers(rows: Sequence[np.ndarray]) -> Any:
    return (ctypes.c_void_p * len(rows))(*[row.ctypes.data for row in rows])


def _logits(rng: np.random.Generator, n_vocab: int, n_rows: int) -> list[np.ndarray]:
    return [row.astype(np.float32) for row in rng.normal(0, 3, (n_rows, n_vocab))]


# -- build facts


def test_the_library_reports_the_commit_it_was_built_from():
    assert stamp.LLAMA_CPP_COMMIT.startswith(shim.lb_llama_commit().decode())
    assert shim.lb_build_number() == stamp.LLAMA_CPP_BUILD_NUMBER


@pytest.mark.parametrize("name", STRUCTS)
def test_struct_sizes_agree_with_the_declarations(name):
    assert shim.lb_struct_size(name.encode()) == ctypes.sizeof(getattr(types, name))


def test_an_unknown_struct_has_size_zero():
    assert shim.lb_struct_size(b"llama_nothing") == 0


# -- log-probabilities


def _top(rows: Sequence[np.ndarray], k: int, tokens: Sequence[int]) -> tuple[Any, Any, Any, int]:
    n = len(rows)
    ids, logprobs = np.zeros((n, k), np.int32), np.zeros((n, k), np.float32)
    chosen = np.zeros(n, np.float32)
    status = shim.lb_top_logprobs(
        _pointers(rows),
        n,
        rows[0].size,
        k,
        (ctypes.c_int32 * n)(*tokens),
        ids.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
        logprobs.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
        chosen.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
    )
    return ids, logprobs, chosen, status


def test_logprobs_are_a_log_softmax(rng):
    rows = _logits(rng, 1000, 4)
    tokens = [1, 20, 300, 999]
    ids, logprobs, chosen, status = _top(rows, 5, tokens)
    assert status == lb_status.LB_OK
    for i, row in enumerate(rows):
        wide = row.astype(np.float64)
        exact = wide - (wide.max() + np.log(np.exp(wide - wide.max()).sum()))
        order = np.lexsort((np.arange(1000), -row))[:5]
        assert (ids[i] == order).all()
        assert logprobs[i] == pytest.approx(exact[order], abs=1e-5)
        assert chosen[i] == pytest.approx(exact[tokens[i]], abs=1e-5)


def test_equal_logits_are_ordered_by_token():
    ids, logprobs, _, _ = _top([np.ones(100, np.float32)], 4, [0])
    assert ids.tolist() == [[0, 1, 2, 3]]
    assert logprobs[0] == pytest.approx([-np.log(100)] * 4)


def test_an_impossible_token_has_minus_infinity():
    row = np.zeros(10, np.float32)
    row[3] = -np.inf
    ids, logprobs, chosen, status = _top([row], 10, [3])
    assert status == lb_status.LB_OK
    assert ids[0, -1] == 3
    assert np.isneginf(logprobs[0, -1])
    assert np.isneginf(chosen[0])


@pytest.mark.parametrize(("k", "token"), [(11, 0), (-1, 0), (1, 10), (1, -1)])
def test_logprobs_with_a_wrong_k_or_token_are_invalid(k, token):
    rows = [np.zeros(10, np.float32)]
    status = shim.lb_top_logprobs(
        _pointers(rows), 1, 10, k, (ctypes.c_int32 * 1)(token), None, None, None
    )
    assert status == lb_status.LB_INVALID


# -- memory


def test_a_context_reports_its_memory(context: Context, random_llama: Model):
    text = shim.lb_memory_breakdown(context.ptr)
    assert text is not None
    answer = json.loads(take_text(text))
    memories = [answer["host"], *answer["devices"]]
    assert sum(memory["model"] for memory in memories) >= random_llama.size_bytes
    assert sum(memory["context"] for memory in memories) > 0
    assert sum(memory["compute"] for memory in memories) > 0


def _params(n_ctx: int) -> tuple[types.llama_model_params, types.llama_context_params]:
    mparams = llama.llama_model_default_params()
    cparams = llama.llama_context_default_params()
    mparams.n_gpu_layers = 0
    cparams.n_ctx = n_ctx
    return mparams, cparams


def test_fitting_chooses_layers_for_the_devices(random_llama_path):
    mparams, cparams = _params(0)
    mparams.n_gpu_layers = llama.llama_model_default_params().n_gpu_layers
    split = (ctypes.c_float * max(1, llama.llama_max_devices()))()
    n_overrides = llama.llama_max_tensor_buft_overrides()
    overrides = (types.llama_model_tensor_buft_override * n_overrides)()
    status = shim.lb_fit_params(
        bytes(random_llama_path),
        ctypes.byref(mparams),
        ctypes.byref(cparams),
        split,
        overrides,
        None,
        256,
    )
    assert status == lb_status.LB_OK, last_error()
