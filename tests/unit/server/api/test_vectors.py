"""Norms of embeddings, as common_embd_normalize of llama.cpp has them."""

import numpy as np
import pytest

from server.api.shared.vectors import normalized, token_vectors
from server.protocol.tasks import Vectors

_VECTOR = np.array([3.0, -4.0, 0.0], "<f4")


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        (-1, [3.0, -4.0, 0.0]),
        (0, [24570.0, -32760.0, 0.0]),
        (1, [3 / 7, -4 / 7, 0.0]),
        (2, [0.6, -0.8, 0.0]),
        (3, [3 / 91 ** (1 / 3), -4 / 91 ** (1 / 3), 0.0]),
        # A power that would overflow: in the limit it is the largest value.
        (32768, [0.75, -1.0, 0.0]),
    ],
)
def test_a_vector_has_the_requested_norm(norm: int, expected: list[float]) -> None:
    assert normalized(_VECTOR, norm).tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("norm", [-1, 0, 1, 2, 7])
def test_a_zero_vector_stays_zero(norm: int) -> None:
    assert normalized(np.zeros(3, "<f4"), norm).tolist() == [0.0, 0.0, 0.0]


def test_vectors_of_tokens_are_lists_of_their_own() -> None:
    raw = np.arange(6, dtype="<f4").tobytes()
    of_tokens = Vectors(vectors=(raw,), n_tokens=(3,), are_of_tokens=True)
    assert token_vectors(of_tokens) == [[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]]
