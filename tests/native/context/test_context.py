"""Context: return codes become exceptions, and arguments that would abort are refused."""

import ctypes

import numpy as np
import pytest

from llamabind.context.batch import Batch
from llamabind.context.context import Context
from llamabind.context.decode_errors import decode_error
from llamabind.context.params import ContextParams
from llamabind.errors import (
    ContextCreateError,
    DecodeAbortedError,
    DecodeFailedError,
    InvalidBatchError,
    InvalidParameterError,
    NoKvSlotError,
)
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from tests.support.contexts import TOKENS, decode, make_context

pytestmark = pytest.mark.native


def test_the_effective_sizes_are_reported(context, random_llama):
    assert (context.n_ctx, context.n_ctx_seq, context.n_seq_max) == (512, 512, 4)
    assert (context.n_batch, context.n_ubatch) == (128, 64)
    assert context.has_memory
    assert context.memory_can_shift
    assert (context.n_threads, context.n_threads_batch) == (1, 1)


def test_a_split_kv_cache_divides_the_cells(split_context):
    assert (split_context.n_ctx, split_context.n_ctx_seq) == (512, 256)


def test_logits_do_not_depend_on_how_a_prompt_is_cut(context):
    whole = decode(context, TOKENS, seq_id=0)
    decode(context, TOKENS[:4], seq_id=1)
    parts = decode(context, TOKENS[4:], pos=4, seq_id=1)
    np.testing.assert_allclose(parts, whole, atol=2e-2)
    assert whole.shape == (32_000,)
    assert parts.argmax() == whole.argmax()


def test_logits_are_a_view_by_batch_index(context):
    batch = Batch(8)
    batch.extend(TOKENS, 0, 0)
    batch.outputs[[1, 4]] = 1
    context.decode(batch)
    assert not np.array_equal(context.logits(1), context.logits(4))
    assert np.array_equal(context.logits(-1), context.logits(4))
    context.logits(4)[7] = 123.0
    address = context.logits_ptr(4)
    assert ctypes.c_float.from_address(address + 7 * 4).value == 123.0


@pytest.mark.parametrize("layout", ["context", "split_context"])
def test_logits_ptrs_finds_the_same_rows_as_logits(layout, request):
    context = request.getfixturevalue(layout)
    # Of sequences of different lengths, which llama.cpp computes in an order of its own.
    with Batch(64) as batch:
        for seq_id, n in ((1, 3), (0, 5)):
            batch.extend(TOKENS[:n], 0, seq_id, output_last=True)
        batch.outputs[4] = 1
        context.decode(batch)
        indexes = [2, 4, 7]
        expected = [context.logits(index).copy() for index in indexes]
        found = context.logits_ptrs(indexes)
        for pointer, row in zip(found, expected, strict=True):
            np.testing.assert_array_equal(context.logits_at(pointer), row)
        assert len({row.tobytes() for row in expected}) == 3
        assert context.logits_ptrs([7]) == [found[2]]
        with pytest.raises(InvalidParameterError, match="has no output"):
            context.logits_ptrs([2, 3])


@pytest.mark.parametrize("index", [0, 6, -2, 1000])
def test_a_token_without_output_has_no_logits(context, index):
    decode(context, TOKENS)
    with pytest.raises(InvalidParameterError, match="has no output"):
        context.logits(index)


def test_logits_are_missing_before_a_decode_and_after_a_failed_one(context):
    with pytest.raises(InvalidParameterError, match=r"call decode\(\) first"):
        context.logits(-1)
    decode(context, TOKENS)
    with pytest.raises(InvalidBatchError):
        decode(context, TOKENS, pos=100)
    with pytest.raises(InvalidParameterError, match=r"call decode\(\) first"):
        context.logits_ptr(-1)


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda batch: None, "the batch is empty"),
        (lambda batch: batch.extend([1] * 129, 0, 0), "has 129 tokens, at most 128 fit"),
        (lambda batch: batch.add(1, 0, 4), r"sequence 4 is not in 0\.\.3"),
        (lambda batch: batch.add(32_000, 0, 0), r"a token is not in 0\.\.31999"),
        (lambda batch: batch.add(-1, 0, 0), r"a token is not in 0\.\.31999"),
        (lambda batch: batch.add(1, -1, 0), "position -1 is negative"),
    ],
)
def test_a_batch_that_cannot_be_is_refused_before_native_code(context, fill, message):
    batch = Batch(256)
    fill(batch)
    with pytest.raises(InvalidBatchError, match=message) as caught:
        context.decode(batch)
    assert caught.value.code == -1
    assert context.memory_seq_pos_max(0) == -1


def test_positions_must_continue_and_the_native_reason_is_reported(context):
    decode(context, TOKENS)
    with pytest.raises(InvalidBatchError, match="Y = X \\+ 1"):
        decode(context, [5], pos=9)
    assert context.memory_seq_pos_max(0) == 5


def test_a_full_cache_raises_no_kv_slot_and_changes_nothing(random_llama):
    with make_context(random_llama, n_batch=256) as context:
        decode(context, [1] * 256)
        with pytest.raises(NoKvSlotError) as caught:
            decode(context, [1], pos=256)
        assert caught.value.code == 1
        assert context.memory_seq_pos_max(0) == 255
        assert context.memory_seq_rm(0, 200)
        decode(context, [1], pos=200)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, NoKvSlotError),
        (2, DecodeAbortedError),
        (-1, InvalidBatchError),
        (-2, DecodeFailedError),
        (-3, DecodeFailedError),
        (7, DecodeFailedError),
    ],
)
def test_each_return_code_is_its_own_exception(code, kind):
    error = decode_error(code, ["first", "the reason"])
    assert type(error) is kind
    assert error.code == code
    assert "the reason" in str(error)


def test_non_causal_attention_takes_what_fits_one_ubatch(random_llama):
    with make_context(random_llama, attention_type="non_causal", n_ubatch=16) as context:
        assert context.n_batch == 16
        with pytest.raises(InvalidBatchError, match="at most 16 fit"):
            decode(context, [1] * 17)
        decode(context, [1] * 16)


def test_a_decoder_has_nothing_to_encode(context):
    batch = Batch(1)
    batch.add(1, 0, 0)
    with pytest.raises(InvalidBatchError, match="has no encoder"):
        context.encode(batch)


@pytest.mark.parametrize(
    "use",
    [
        lambda context: context.memory_seq_div(0, 0, -1, 0),
        lambda context: context.memory_seq_div(0, 0, -1, -2),
        lambda context: context.memory_seq_add(0, 0, -1, 2**31 - 1),
        lambda context: context.memory_seq_add(0, 0, -1, 2**31),
        lambda context: context.memory_seq_rm(0, 2**31),
        lambda context: context.set_n_threads(0, 1),
        lambda context: context.set_n_threads(1, 513),
    ],
)
def test_numbers_that_would_crash_native_code_are_refused(context, use):
    decode(context, TOKENS)
    with pytest.raises(InvalidParameterError):
        use(context)


def test_threads_can_be_changed(context):
    context.set_n_threads(2, 1)
    assert (context.n_threads, context.n_threads_batch) == (2, 1)
    decode(context, TOKENS)
    context.synchronize()


@pytest.mark.parametrize(
    "values",
    [
        {"n_ctx": -1},
        {"n_batch": 0},
        {"n_seq_max": 257, "n_batch": 512},
        {"n_seq_max": 9, "n_batch": 8},
        {"n_threads": 0},
        {"n_threads_batch": 1000},
        {"type_k": "q6_k"},
        {"flash_attn": True},
        {"pooling_type": "max"},
        {"kv_unified": 1},
    ],
)
def test_parameters_that_cannot_be_are_refused(values):
    with pytest.raises(InvalidParameterError) as caught:
        ContextParams(**values)
    assert caught.value.field in values


def test_more_sequences_than_tokens_are_refused_not_aborted(random_llama):
    with pytest.raises(ContextCreateError, match="n_seq_max is 8"):
        make_context(random_llama, n_ctx=4, n_seq_max=8)


def test_native_refusals_carry_their_reason(random_llama):
    with pytest.raises(ContextCreateError, match="requires flash_attn"):
        make_context(random_llama, type_v="q8_0", flash_attn="off")


def test_a_quantised_cache_works(random_llama):
    # The heads of the random model are 16 wide, blocks are 32.
    with pytest.raises(ContextCreateError, match="does not divide"):
        make_context(random_llama, type_k="q8_0")
    with make_context(random_llama, type_k="bf16", type_v="bf16") as context:
        assert np.isfinite(decode(context, TOKENS)).all()


def test_a_model_without_weights_has_no_context(random_llama_path):
    with (
        Model(random_llama_path, ModelParams(vocab_only=True)) as model,
        pytest.raises(ContextCreateError, match="without its weights"),
    ):
        Context(model)
