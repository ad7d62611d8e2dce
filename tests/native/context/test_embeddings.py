"""Embeddings of sequences and of single tokens."""

import numpy as np
import pytest

from llamabind.context.batch import Batch
from llamabind.errors import (
    InvalidParameterError,
)
from tests.support.contexts import TOKENS, decode, make_context

pytestmark = pytest.mark.native


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_pooled_embeddings_of_several_sequences_in_one_decode(random_llama, pooling):
    with make_context(random_llama, embeddings=True, pooling_type=pooling, n_seq_max=2) as context:
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
    with make_context(random_llama, embeddings=True, pooling_type="none") as context:
        decode(context, TOKENS)
        assert context.embeddings_ith(0).shape == (64,)
        assert np.isfinite(context.embeddings_ith(5)).all()
        with pytest.raises(InvalidParameterError, match="has no pooled embedding"):
            context.embeddings_seq(0)
