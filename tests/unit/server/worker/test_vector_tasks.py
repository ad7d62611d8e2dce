"""Errors of embedding requests name the client's fields, not functions of the library."""

from types import SimpleNamespace
from typing import cast

import pytest

from llamabind import EmbeddingEngine
from llamabind.errors import InvalidParameterError
from server.protocol.tasks import Embed
from server.worker.engines.vector_tasks import VectorTasks


@pytest.mark.parametrize(
    ("pooling", "remedy"),
    [("none", "POST /embeddings"), ("rank", "it is a reranker")],
)
def test_an_engine_without_one_vector_for_each_input_says_what_to_do(pooling, remedy):
    tasks = VectorTasks(cast("EmbeddingEngine", SimpleNamespace(pooling=pooling)))
    with pytest.raises(InvalidParameterError, match=remedy) as failure:
        tasks.perform(Embed(inputs=("a",), normalize=True))
    assert failure.value.field == "model"
    assert "embed_tokens" not in str(failure.value)
