"""purpose_of: what a model is for, by its header."""

import pytest

from llamabind import GgufHeader
from llamabind.gguf.purpose import is_encoder, purpose_of


def _header(architecture: str, pooling: int | None = None, outputs: int = 0) -> GgufHeader:
    metadata: dict[str, str | int | float | bool] = {"general.architecture": architecture}
    if pooling is not None:
        metadata[f"{architecture}.pooling_type"] = pooling
    return GgufHeader(3, 0, 0, metadata, {}, outputs)


@pytest.mark.parametrize(
    ("header", "purpose"),
    [
        (_header("llama"), "generation"),
        (_header("qwen3", 0), "generation"),
        (_header("qwen3", 3), "embedding"),
        (_header("qwen3", 4), "rerank"),
        (_header("qwen3", outputs=2), "rerank"),
        (_header("pangu-embedded"), "generation"),
        (_header("nomic-bert-moe"), "embedding"),
        (_header("modern-bert", 2), "embedding"),
        (_header("bert", 2, outputs=1), "rerank"),
        (_header("jina-bert-v2", outputs=1), "rerank"),
        (_header("gemma-embedding", 1), "embedding"),
    ],
)
def test_the_header_decides(header: GgufHeader, purpose: str) -> None:
    assert purpose_of(header) == purpose


@pytest.mark.parametrize("architecture", [None, "", "llama", "t5", "dream"])
def test_other_architectures_have_a_decoder(architecture: str | None) -> None:
    assert not is_encoder(architecture)
