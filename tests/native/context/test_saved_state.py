"""Saved states: of a sequence and of a context, restored, damaged or of another layout."""

import numpy as np
import pytest

from llamabind.context.saved_state import SavedState
from llamabind.errors import (
    StateError,
)
from tests.support.contexts import TOKENS, decode

pytestmark = pytest.mark.native


def test_a_sequence_is_restored_into_another_one(context):
    expected = decode(context, TOKENS)
    assert context.memory_seq_rm(0, 5)
    state = context.state_seq_save(0)
    context.state_seq_load(3, SavedState.from_bytes(state.to_bytes()))
    assert context.memory_seq_pos_max(3) == 4
    np.testing.assert_allclose(decode(context, TOKENS[5:], 5, 3), expected, atol=2e-2)


def test_a_whole_context_is_restored(context):
    decode(context, TOKENS, seq_id=0)
    expected = decode(context, TOKENS[:3], seq_id=2)
    state = context.state_save()
    context.memory_clear()
    context.state_load(SavedState.from_bytes(state.to_bytes()))
    assert [context.memory_seq_pos_max(s) for s in range(4)] == [5, -1, 2, -1]
    assert context.memory_seq_rm(2, 2)
    np.testing.assert_allclose(decode(context, TOKENS[2:3], 2, 2), expected, atol=2e-2)


def test_a_damaged_or_truncated_state_is_refused(context):
    decode(context, TOKENS)
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
    decode(context, TOKENS)
    data = context.state_seq_save(0).data
    for flags in (-1, 2, 3):  # 2 is LLAMA_STATE_SEQ_FLAGS_ON_DEVICE
        with pytest.raises(StateError, match="flags"):
            SavedState(data, is_sequence=True, flags=flags)


def test_native_data_that_does_not_fit_leaves_the_sequence_empty(context):
    decode(context, TOKENS, seq_id=0)
    decode(context, TOKENS, seq_id=1)
    good = context.state_seq_save(0)
    for size in (0, 4, 8, 20, good.n_bytes // 2, good.n_bytes - 1):
        with pytest.raises(StateError, match="does not fit sequence 1"):
            context.state_seq_load(1, SavedState(good.data[:size], is_sequence=True))
        assert context.memory_seq_pos_max(1) == -1
    assert context.memory_seq_pos_max(0) == 5


def test_the_state_of_another_layout_does_not_fit(context, split_context):
    decode(context, TOKENS)
    with pytest.raises(StateError, match="n_stream mismatch"):
        split_context.state_seq_load(0, context.state_seq_save(0))
    with pytest.raises(StateError, match="does not fit this context"):
        split_context.state_load(context.state_save())


def test_the_two_kinds_of_states_are_not_mixed_up(context):
    with pytest.raises(StateError, match="use state_seq_load"):
        context.state_load(context.state_seq_save(0))
    with pytest.raises(StateError, match="use state_load"):
        context.state_seq_load(0, context.state_save())
