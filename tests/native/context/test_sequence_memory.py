"""The KV cells of sequences: removed, copied, shifted and kept."""

import numpy as np
import pytest

from llamabind.context.batch import Batch
from llamabind.errors import (
    InvalidBatchError,
    InvalidParameterError,
    StateError,
)
from tests.support.contexts import TOKENS, decode

pytestmark = pytest.mark.native


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


def test_a_removed_tail_is_computed_again_to_the_same_logits(context):
    expected = decode(context, TOKENS)
    assert context.memory_seq_rm(0, 3)
    assert context.memory_seq_pos_max(0) == 2
    again = decode(context, TOKENS[3:], pos=3)
    np.testing.assert_allclose(again, expected, atol=2e-2)


def test_a_copied_prefix_gives_the_same_logits(context):
    expected = decode(context, TOKENS, seq_id=0)
    context.memory_seq_cp(0, 2, 0, 4)
    assert context.memory_seq_pos_max(2) == 3
    np.testing.assert_allclose(decode(context, TOKENS[4:], 4, 2), expected, atol=2e-2)


def test_a_split_kv_cache_copies_a_whole_sequence_that_is_then_cut(split_context):
    expected = decode(split_context, TOKENS, seq_id=0)
    split_context.memory_seq_cp(0, 1)
    assert split_context.memory_seq_rm(1, 4)
    np.testing.assert_allclose(decode(split_context, TOKENS[4:], 4, 1), expected, atol=2e-2)


@pytest.mark.parametrize(("p0", "p1"), [(0, 4), (2, -1), (-1, 0), (1, 3)])
def test_a_split_kv_cache_cannot_copy_a_part_of_a_sequence(split_context, p0, p1):
    decode(split_context, TOKENS)
    with pytest.raises(InvalidParameterError, match="only a whole sequence"):
        split_context.memory_seq_cp(0, 1, p0, p1)


def test_no_state_is_saved_between_a_split_kv_copy_and_the_decode_that_performs_it(split_context):
    decode(split_context, TOKENS)
    split_context.memory_seq_cp(0, 1)
    with pytest.raises(StateError, match="decode first"):
        split_context.state_seq_save(1)
    decode(split_context, [5], pos=6, seq_id=1)
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
    decode(context, [1] * 8)
    assert context.memory_seq_rm(0, 2, 4)
    context.memory_seq_add(0, 4, -1, -2)
    assert context.memory_seq_pos_max(0) == 5
    decode(context, [1], pos=6)
    context.memory_seq_div(0, 0, -1, 2)
    assert context.memory_seq_pos_max(0) == 3


@pytest.mark.parametrize("layout", ["context", "split_context"])
def test_keep_forgets_all_other_sequences(request, layout):
    chosen = request.getfixturevalue(layout)
    decode(chosen, TOKENS, seq_id=0)
    decode(chosen, TOKENS, seq_id=1)
    chosen.memory_seq_keep(1)
    assert chosen.memory_seq_pos_max(0) == -1
    assert chosen.memory_seq_pos_max(1) == 5
    chosen.memory_clear()
    assert chosen.memory_seq_pos_max(1) == -1
