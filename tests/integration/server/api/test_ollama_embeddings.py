"""Vectors by Ollama's API."""

from typing import Any

import pytest

from tests.support.ollama_requests import post
from tests.support.server_app import Client


async def test_vectors_come_for_each_input(client: Client) -> None:
    document = await post(client, "embed", input=["a", "bcd"])
    assert document["embeddings"] == [[1.0, 0.0, 4.0, 3.0], [3.0, 0.0, 4.0, 3.0]]
    assert document["prompt_eval_count"] == 4


async def test_a_prompt_is_embedded_in_the_older_form(client: Client) -> None:
    document = await post(client, "embeddings", prompt="bcd")
    assert document == {"embedding": [3.0, 0.0, 4.0, 3.0]}
    assert await post(client, "embeddings", prompt="") == {"embedding": []}
    assert await post(client, "embeddings") == {"embedding": []}


async def test_an_embedding_tells_how_long_the_load_took(client: Client) -> None:
    first = await post(client, "embed", input="a")
    assert 0 < first["load_duration"] <= first["total_duration"]
    assert (await post(client, "embed", input="a"))["load_duration"] == 0


@pytest.mark.parametrize("inputs", [[], None])
async def test_without_an_input_the_model_is_loaded(client: Client, inputs: Any) -> None:
    assert (await post(client, "embed", input=inputs))["embeddings"] == []
    assert len((await (await client.get("/api/ps")).json())["models"]) == 1


@pytest.mark.parametrize(("dimensions", "n"), [(0, 4), (2, 2), (2.0, 2), (4, 4), (9999, 4)])
async def test_an_embedding_has_at_most_the_dimensions_of_the_model(
    client: Client, dimensions: float, n: int
) -> None:
    document = await post(client, "embed", input="a", dimensions=dimensions)
    assert len(document["embeddings"][0]) == n
