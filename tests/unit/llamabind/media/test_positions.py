"""Positions of images are computed from the tokens alone and differ from the number of cells."""

from array import array

import numpy as np
import pytest

from llamabind.errors import InvalidParameterError
from llamabind.media.medium import EncodedMedium, MediaVectors, Medium, lay_out, pseudo_tokens
from llamabind.media.positions import (
    HASH_BITS,
    count_positions,
    last_border,
    newest_position,
    position_bits,
    pseudo_token,
)
from llamabind.request import GenerationRequest


def image(n_x: int, n_y: int) -> EncodedMedium:
    vectors = np.ones((n_x * n_y, 4), np.float32)
    return EncodedMedium(b"cat", (MediaVectors(vectors, grid=(n_x, n_y)),))


def tokens_of(*parts) -> array:
    return array("i", lay_out(parts)[0])


def test_an_image_takes_as_many_positions_as_its_longer_side() -> None:
    for n_x, n_y in [(3, 2), (2, 3), (1, 1), (6, 1), (1, 6)]:
        tokens = tokens_of([7, 8], image(n_x, n_y), [9, 9])
        n, end = n_x * n_y, 2 + max(n_x, n_y)
        assert [count_positions(tokens, index) for index in (0, 1, 2)] == [0, 1, 2]
        assert [count_positions(tokens, 2 + n + index) for index in range(3)] == [
            end,
            end + 1,
            end + 2,
        ]
        assert newest_position(tokens) == end + 1
        # All vectors of an image have its first position in time.
        assert newest_position(tokens[: 2 + n]) == newest_position(tokens[:3]) == 2


def test_nothing_is_cut_inside_of_an_image() -> None:
    tokens = tokens_of([7, 8], image(3, 2), image(2, 1), [9])
    borders = [last_border(tokens, n) for n in range(len(tokens) + 1)]
    assert borders == [0, 1, 2, 2, 2, 2, 2, 2, 8, 8, 10, 11]


def test_vectors_without_a_grid_are_counted_like_tokens() -> None:
    sound = EncodedMedium(b"meow", (MediaVectors(np.ones((5, 4), np.float32)),))
    tokens = tokens_of([7], sound, [9])
    for n in range(len(tokens) + 1):
        assert count_positions(tokens, n) == last_border(tokens, n) == n
        assert newest_position(tokens[:n]) == n - 1


def test_a_mark_leaves_the_number_and_the_sign() -> None:
    for number in (0, 1, (1 << HASH_BITS) - 1):
        marked = [pseudo_token(number, place, 2) for place in range(4)]
        assert [position_bits(token) for token in marked] == [0, 1, 3, 3]
        assert all(-(1 << 31) <= token < 0 for token in marked)
        assert {~token & ((1 << HASH_BITS) - 1) for token in marked} == {number}
        assert pseudo_token(number) == marked[0]
    assert position_bits(0) == position_bits(1 << 30) == 0


@pytest.mark.parametrize("is_whole", [True, False])
def test_positions_of_the_vectors_of_an_image(is_whole: bool) -> None:
    medium = Medium(4, np.ones((6, 4), np.float32), grid=(3, 2))
    start = 4 if is_whole else 6
    positions = medium.positions(10, start, 10)
    expected = [[10] * 6, [10, 10, 10, 11, 11, 11], [10, 11, 12, 10, 11, 12], [0] * 6]
    assert positions.tolist() == [row[start - 4 :] for row in expected]
    assert positions.dtype == np.int32


def test_positions_of_the_vectors_of_a_sound() -> None:
    medium = Medium(4, np.ones((3, 4), np.float32))
    assert medium.n_positions == 3
    assert medium.positions(10, 5, 7).tolist() == [[11, 12]] * 4


@pytest.mark.parametrize(
    ("grid", "marked"),
    [((2, 2), (2, 3)), ((-2, -3), (2, 3)), ((3, 2), None), (None, (3, 2)), ((3, 2), (6, 1))],
)
def test_a_grid_its_vectors_and_its_pseudo_tokens_must_agree(grid, marked) -> None:
    tokens = pseudo_tokens(b"cat", 0, 6, marked)
    medium = Medium(0, np.ones((6, 4), np.float32), grid=grid)
    with pytest.raises(InvalidParameterError, match="media"):
        GenerationRequest(request_id="a", prompt_tokens=(*tokens, 5), media=(medium,))
