"""Batch fills the arrays of llama_batch and refuses what does not fit."""

from contextlib import closing

import pytest

from llamabind.context.batch import Batch
from llamabind.errors import HandleClosedError, InvalidParameterError

pytestmark = pytest.mark.native


def _rows(batch: Batch) -> list[tuple[int, int, list[int], int]]:
    c_batch = batch.c_batch
    return [
        (
            c_batch.token[i],
            c_batch.pos[i],
            [c_batch.seq_id[i][s] for s in range(c_batch.n_seq_id[i])],
            c_batch.logits[i],
        )
        for i in range(c_batch.n_tokens)
    ]


def test_c_sees_what_was_added():
    batch = Batch(8, 2)
    assert batch.add(5, 0, 0) == 0
    assert batch.add(6, 1, [3, 1], output=True) == 1
    assert batch.extend([7, 8, 9], 4, 2, output_last=True) == 2
    assert _rows(batch) == [
        (5, 0, [0], 0),
        (6, 1, [1, 3], 1),
        (7, 4, [2], 0),
        (8, 5, [2], 0),
        (9, 6, [2], 1),
    ]
    assert len(batch) == 5
    assert batch.max_seq_id == 3
    assert batch.has_shared_token


def test_nothing_of_the_last_filling_remains_after_clear():
    batch = Batch(4, 2)
    batch.add(1, 2, [0, 1], output=True)
    batch.clear()
    assert len(batch) == 0
    assert not batch.has_shared_token
    batch.add(9, 0, 1)
    batch.extend([4], 1, 1)
    assert _rows(batch) == [(9, 0, [1], 0), (4, 1, [1], 0)]


def test_a_full_batch_refuses_one_token_more():
    batch = Batch(2)
    batch.extend([1, 2], 0, 0)
    with pytest.raises(InvalidParameterError, match="1 more tokens do not fit: 2 of 2 are used"):
        batch.add(3, 2, 0)
    with pytest.raises(InvalidParameterError, match="2 more tokens do not fit"):
        batch.extend([3, 4], 2, 0)
    assert len(batch) == 2


@pytest.mark.parametrize("seq_id", [-1, 256, [], [0, 1, 2], [300]])
def test_sequences_that_cannot_be_are_refused(seq_id):
    batch = Batch(2, 2)
    with pytest.raises(InvalidParameterError, match="seq_id"):
        batch.add(1, 0, seq_id)
    assert len(batch) == 0


def test_a_repeated_sequence_counts_once():
    batch = Batch(1, 2)
    batch.add(1, 0, [1, 1, 1])
    assert _rows(batch) == [(1, 0, [1], 0)]


@pytest.mark.parametrize(("tokens", "pos"), [([2**31], 0), ([1], -1), ([1], 2**31 - 1)])
def test_numbers_beyond_32_bits_are_refused(tokens, pos):
    batch = Batch(2)
    with pytest.raises(InvalidParameterError):
        batch.extend(tokens, pos, 0)
    assert len(batch) == 0


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (2**31, 1), (1, 257)])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(InvalidParameterError):
        Batch(*sizes)


def test_a_closed_batch_is_an_exception():
    batch = Batch(2)
    batch.add(1, 0, 0)
    batch.close()
    batch.close()
    for use in (lambda: batch.add(1, 0, 0), lambda: batch.extend([1], 0, 0), batch.__enter__):
        with pytest.raises(HandleClosedError):
            use()


def test_the_ranges_of_tokens_and_positions_follow_what_is_added():
    with Batch(16) as batch:
        batch.add(7, 3, 0)
        batch.extend([9, 2, 5], 10, 1)
        assert (batch.token_range, batch.position_range) == ((2, 9), (3, 12))
        batch.clear()
        batch.extend([], 100, 1)
        batch.add(-4, -1, 0)
        assert (batch.token_range, batch.position_range) == ((-4, -4), (-1, -1))


def test_what_is_written_into_the_views_counts():
    with Batch(16) as batch:
        batch.extend([9, 2, 5], 10, 1)
        batch.tokens[1] = -8
        batch.positions[2] = 500
        assert (batch.token_range, batch.position_range) == ((-8, 9), (10, 500))
        batch.add(20, 600, 1)
        assert (batch.token_range, batch.position_range) == ((-8, 20), (10, 600))


def test_add_each_refuses_lists_of_different_lengths():
    with closing(Batch(4)) as batch:
        for lists in (([1, 2], [0, 0], [0]), ([1, 2], [0], [0, 1]), ([1], [0, 0], [0, 1])):
            with pytest.raises(InvalidParameterError, match="tokens"):
                batch.add_each(*lists)
        assert len(batch) == 0


@pytest.mark.parametrize(("token", "position"), [(2**31, 0), (1, 2**31), (-(2**31) - 1, 0)])
def test_single_numbers_beyond_32_bits_are_refused(token, position):
    with closing(Batch(4)) as batch:
        with pytest.raises(InvalidParameterError, match="32 bits"):
            batch.add(token, position, 0)
        with pytest.raises(InvalidParameterError, match="32 bits"):
            batch.add_each([token], [position], [0])
        assert len(batch) == 0


def test_all_tokens_from_an_index_on_get_outputs():
    with closing(Batch(4)) as batch:
        batch.extend([1, 2, 3], 0, 0)
        batch.output_all(1)
        assert batch.output_flags == b"\0\1\1"
        batch.output_all()
        assert batch.output_flags == b"\1\1\1"
        for first in (-1, 4):
            with pytest.raises(InvalidParameterError, match="first"):
                batch.output_all(first)


def test_add_each_appends_what_add_appends_one_by_one():
    tokens, positions, seq_ids = [5, 3, 9], [7, 0, 2], [2, 0, 1]
    with closing(Batch(4)) as many, closing(Batch(4)) as single:
        for batch in (many, single):
            batch.add(1, 0, 3)
        many.add_each(tokens, positions, seq_ids)
        for token, position, seq_id in zip(tokens, positions, seq_ids, strict=True):
            single.add(token, position, seq_id, output=True)
        assert many.output_flags == single.output_flags
        assert (many.token_range, many.position_range) == (
            single.token_range,
            single.position_range,
        )
        assert many.max_seq_id == single.max_seq_id
        assert many.tokens.tolist() == single.tokens.tolist()
        assert many.positions.tolist() == single.positions.tolist()
        assert [many.c_batch.seq_id[i][0] for i in range(4)] == [3, *seq_ids]
        with pytest.raises(InvalidParameterError, match="1 more tokens do not fit"):
            many.add_each([1], [8], [0])


def test_add_each_refuses_a_sequence_id_out_of_range():
    with closing(Batch(4)) as batch, pytest.raises(InvalidParameterError, match="sequence -1"):
        batch.add_each([1, 2], [0, 0], [0, -1])
