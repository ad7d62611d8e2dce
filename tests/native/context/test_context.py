"""Context: return codes become exceptions, and arguments that would abort are refused."""

import ctypes
from typing import Any

import numpy as np
import pytest

from llamabind.context.batch import Batch
from llamabind.context.context import Context, decode_error
from llamabind.context.params import ContextParams
from llamabind.context.saved_state import SavedState
from llamabind.errors import (
    ContextCreateError,
    DecodeAbortedError,
    DecodeFailedError,
    InvalidBatchError,
    InvalidParameterError,
    NoKvSlotError,
    StateError,
)
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams

pytestmark = pytest.mark.native

TOKENS = [1, 450, 4996, 17354, 1701, 29916]


def _decode(context: Context, tokens: list[int], pos: int = 0, seq_id: int = 0) -> np.ndarray:
    batch = Batch(512)
    batch.extend(tokens, pos, seq_id, output_last=True)
    context.decode(batch)
    return context.logits(-1).copy()


def _make(model: Model, **values: Any) -> Context:
    defaults: dict[str, Any] = {"n_ctx": 256, "n_threads": 1, "n_threads_batch": 1}
    return Context(model, ContextParams(**(defaults | values)))


def test_the_effective_sizes_are_reported(context, random_llama):
    assert (context.n_ctx, context.n_ctx_seq, context.n_seq_max) == (512, 512, 4)
    assert (context.n_batch, context.n_ubatch) == (128, 64)
    assert context.has_memory
    assert context.memory_can_shift
    assert (context.n_threads, context.n_threads_batch) == (1, 1)


def test_a_split_kv_cache_divides_the_cells(split_context):
    assert (split_context.n_ctx, split_context.n_ctx_seq) == (512, 256)


def test_logits_do_not_depend_on_how_a_prompt_is_cut(context):
    whole = _decode(context, TOKENS, seq_id=0)
    _decode(context, TOKENS[:4], seq_id=1)
    parts = _decode(context, TOKENS[4:], pos=4, seq_id=1)
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
def test_many_tokens_logits_are_found_in_one_call_where_one_by_one_finds_them(layout, request):
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
    _decode(context, TOKENS)
    with pytest.raises(InvalidParameterError, match="has no output"):
        context.logits(index)


def test_logits_are_missing_before_a_decode_and_after_a_failed_one(context):
    with pytest.raises(InvalidParameterError, match=r"call decode\(\) first"):
        context.logits(-1)
    _decode(context, TOKENS)
    with pytest.raises(InvalidBatchError):
        _decode(context, TOKENS, pos=100)
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
    _decode(context, TOKENS)
    with pytest.raises(InvalidBatchError, match="Y = X \\+ 1"):
        _decode(context, [5], pos=9)
    assert context.memory_seq_pos_max(0) == 5


def test_a_full_cache_raises_no_kv_slot_and_changes_nothing(random_llama):
    with _make(random_llama, n_batch=256) as context:
        _decode(context, [1] * 256)
        with pytest.raises(NoKvSlotError) as caught:
            _decode(context, [1], pos=256)
        assert caught.value.code == 1
        assert context.memory_seq_pos_max(0) == 255
        assert context.memory_seq_rm(0, 200)
        _decode(context, [1], pos=200)


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


def test_a_token_of_two_sequences_is_remembered_by_both(context):
    batch = Batch(8, 2)
    for pos, token in enumerate(TOKENS):
        batch.add(token, pos, [0, 1])
    context.decode(batch)
    assert context.memory_seq_pos_max(0) == context.memory_seq_pos_max(1) == 5


def test_a_split_kv_cache_refuses_a_token_of_two_sequences(split_context):
    batch = Batch(8, 2)
    batch.add(1, 0, [0, 1])
    with pytest.raises(InvalidBatchError, match="needs kv_unified"):
        split_context.decode(batch)


def test_non_causal_attention_takes_what_fits_one_ubatch(random_llama):
    with _make(random_llama, attention_type="non_causal", n_ubatch=16) as context:
        assert context.n_batch == 16
        with pytest.raises(InvalidBatchError, match="at most 16 fit"):
            _decode(context, [1] * 17)
        _decode(context, [1] * 16)


def test_a_decoder_has_nothing_to_encode(context):
    batch = Batch(1)
    batch.add(1, 0, 0)
    with pytest.raises(InvalidBatchError, match="has no encoder"):
        context.encode(batch)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_pooled_embeddings_of_several_sequences_in_one_decode(random_llama, pooling):
    with _make(random_llama, embeddings=True, pooling_type=pooling, n_seq_max=2) as context:
        batch = Batch(16)
        batch.extend(TOKENS, 0, 0)
        batch.extend(TOKENS[::-1], 0, 1)
        context.decode(batch)
        first, second = context.embeddings_seq(0), context.embeddings_seq(1)
        assert first.shape == (64,)
        assert not np.allclose(first, second)
        with pytest.raises(InvalidParameterError, match="has no embedding"):
            context.embeddings_ith(0)
        with pytest.raises(InvalidParameterError, match="is not in"):
            context.embeddings_seq(2)


def test_embeddings_of_single_tokens(random_llama):
    with _make(random_llama, embeddings=True, pooling_type="none") as context:
        _decode(context, TOKENS)
        assert context.embeddings_ith(0).shape == (64,)
        assert np.isfinite(context.embeddings_ith(5)).all()
        with pytest.raises(InvalidParameterError, match="has no pooled embedding"):
            context.embeddings_seq(0)


def test_a_removed_tail_is_computed_again_to_the_same_logits(context):
    expected = _decode(context, TOKENS)
    assert context.memory_seq_rm(0, 3)
    assert context.memory_seq_pos_max(0) == 2
    again = _decode(context, TOKENS[3:], pos=3)
    np.testing.assert_allclose(again, expected, atol=2e-2)


def test_a_copied_prefix_gives_the_same_logits(context):
    expected = _decode(context, TOKENS, seq_id=0)
    context.memory_seq_cp(0, 2, 0, 4)
    assert context.memory_seq_pos_max(2) == 3
    np.testing.assert_allclose(_decode(context, TOKENS[4:], 4, 2), expected, atol=2e-2)


def test_a_split_kv_cache_copies_a_whole_sequence_that_is_then_cut(split_context):
    expected = _decode(split_context, TOKENS, seq_id=0)
    split_context.memory_seq_cp(0, 1)
    assert split_context.memory_seq_rm(1, 4)
    np.testing.assert_allclose(_decode(split_context, TOKENS[4:], 4, 1), expected, atol=2e-2)


@pytest.mark.parametrize(("p0", "p1"), [(0, 4), (2, -1), (-1, 0), (1, 3)])
def test_a_split_kv_cache_cannot_copy_a_part_of_a_sequence(split_context, p0, p1):
    _decode(split_context, TOKENS)
    with pytest.raises(InvalidParameterError, match="only a whole sequence"):
        split_context.memory_seq_cp(0, 1, p0, p1)


def test_no_state_is_saved_between_a_split_kv_copy_and_the_decode_that_performs_it(split_context):
    _decode(split_context, TOKENS)
    split_context.memory_seq_cp(0, 1)
    with pytest.raises(StateError, match="decode first"):
        split_context.state_seq_save(1)
    _decode(split_context, [5], pos=6, seq_id=1)
    assert split_context.state_seq_save(1).n_bytes > 0


@pytest.mark.parametrize("seq_id", [-1, 4, 256, 2**31])
def test_every_memory_operation_checks_its_sequence(context, seq_id):
    state = context.state_seq_save(0)
    for use in (
        lambda: context.memory_seq_rm(seq_id),
        lambda: context.memory_seq_cp(seq_id, 0),
        lambda: context.memory_seq_cp(0, seq_id),
        lambda: context.memory_seq_keep(seq_id),
        lambda: context.memory_seq_add(seq_id, 0, -1, 1),
        lambda: context.memory_seq_div(seq_id, 0, -1, 2),
        lambda: context.memory_seq_pos_min(seq_id),
        lambda: context.memory_seq_pos_max(seq_id),
        lambda: context.state_seq_save(seq_id),
        lambda: context.state_seq_load(seq_id, state),
    ):
        with pytest.raises(InvalidParameterError, match=r"is not in 0\.\.3"):
            use()


def test_positions_can_be_shifted_and_divided(context):
    _decode(context, [1] * 8)
    assert context.memory_seq_rm(0, 2, 4)
    context.memory_seq_add(0, 4, -1, -2)
    assert context.memory_seq_pos_max(0) == 5
    _decode(context, [1], pos=6)
    context.memory_seq_div(0, 0, -1, 2)
    assert context.memory_seq_pos_max(0) == 3


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
    _decode(context, TOKENS)
    with pytest.raises(InvalidParameterError):
        use(context)


@pytest.mark.parametrize("layout", ["context", "split_context"])
def test_keep_forgets_all_other_sequences(request, layout):
    chosen = request.getfixturevalue(layout)
    _decode(chosen, TOKENS, seq_id=0)
    _decode(chosen, TOKENS, seq_id=1)
    chosen.memory_seq_keep(1)
    assert chosen.memory_seq_pos_max(0) == -1
    assert chosen.memory_seq_pos_max(1) == 5
    chosen.memory_clear()
    assert chosen.memory_seq_pos_max(1) == -1


def test_threads_can_be_changed(context):
    context.set_n_threads(2, 1)
    assert (context.n_threads, context.n_threads_batch) == (2, 1)
    _decode(context, TOKENS)
    context.synchronize()


def test_a_sequence_is_restored_into_another_one(context):
    expected = _decode(context, TOKENS)
    assert context.memory_seq_rm(0, 5)
    state = context.state_seq_save(0)
    context.state_seq_load(3, SavedState.from_bytes(state.to_bytes()))
    assert context.memory_seq_pos_max(3) == 4
    np.testing.assert_allclose(_decode(context, TOKENS[5:], 5, 3), expected, atol=2e-2)


def test_a_whole_context_is_restored(context):
    _decode(context, TOKENS, seq_id=0)
    expected = _decode(context, TOKENS[:3], seq_id=2)
    state = context.state_save()
    context.memory_clear()
    context.state_load(SavedState.from_bytes(state.to_bytes()))
    assert [context.memory_seq_pos_max(s) for s in range(4)] == [5, -1, 2, -1]
    assert context.memory_seq_rm(2, 2)
    np.testing.assert_allclose(_decode(context, TOKENS[2:3], 2, 2), expected, atol=2e-2)


def test_a_damaged_or_truncated_state_is_refused(context):
    _decode(context, TOKENS)
    raw = context.state_seq_save(0).to_bytes()
    for bad, message in (
        (b"", "header of 24 bytes"),
        (raw[:-1], "truncated"),
        (raw + b"x", "truncated"),
        (b"X" + raw[1:], "not a saved state"),
        (raw[:60] + bytes([raw[60] ^ 1]) + raw[61:], "damaged"),
        *((_flipped(raw, bit), "damaged") for bit in range(64, 96)),  # kind and flags
    ):
        with pytest.raises(StateError, match=message):
            SavedState.from_bytes(bad)


def _flipped(raw: bytes, bit: int) -> bytes:
    byte = raw[bit // 8] ^ 1 << bit % 8
    return raw[: bit // 8] + bytes([byte]) + raw[bit // 8 + 1 :]


def test_a_state_with_flags_that_native_code_aborts_on_is_refused(context):
    _decode(context, TOKENS)
    data = context.state_seq_save(0).data
    for flags in (-1, 2, 3):  # 2 is LLAMA_STATE_SEQ_FLAGS_ON_DEVICE
        with pytest.raises(StateError, match="flags"):
            SavedState(data, is_sequence=True, flags=flags)


def test_native_data_that_does_not_fit_leaves_the_sequence_empty(context):
    _decode(context, TOKENS, seq_id=0)
    _decode(context, TOKENS, seq_id=1)
    good = context.state_seq_save(0)
    for size in (0, 4, 8, 20, good.n_bytes // 2, good.n_bytes - 1):
        with pytest.raises(StateError, match="does not fit sequence 1"):
            context.state_seq_load(1, SavedState(good.data[:size], is_sequence=True))
        assert context.memory_seq_pos_max(1) == -1
    assert context.memory_seq_pos_max(0) == 5


def test_the_state_of_another_layout_does_not_fit(context, split_context):
    _decode(context, TOKENS)
    with pytest.raises(StateError, match="n_stream mismatch"):
        split_context.state_seq_load(0, context.state_seq_save(0))
    with pytest.raises(StateError, match="does not fit this context"):
        split_context.state_load(context.state_save())


def test_the_two_kinds_of_states_are_not_mixed_up(context):
    with pytest.raises(StateError, match="use state_seq_load"):
        context.state_load(context.state_seq_save(0))
    with pytest.raises(StateError, match="use state_load"):
        context.state_seq_load(0, context.state_save())


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
        _make(random_llama, n_ctx=4, n_seq_max=8)


def test_native_refusals_carry_their_reason(random_llama):
    with pytest.raises(ContextCreateError, match="requires flash_attn"):
        _make(random_llama, type_v="q8_0", flash_attn="off")


def test_a_quantised_cache_works(random_llama):
    # The heads of the random model are 16 wide, blocks are 32.
    with pytest.raises(ContextCreateError, match="does not divide"):
        _make(random_llama, type_k="q8_0")
    with _make(random_llama, type_k="bf16", type_v="bf16") as context:
        assert np.isfinite(_decode(context, TOKENS)).all()


def test_a_model_without_weights_has_no_context(random_llama_path):
    with (
        Model(random_llama_path, ModelParams(vocab_only=True)) as model,
        pytest.raises(ContextCreateError, match="without its weights"),
    ):
        Context(model)
