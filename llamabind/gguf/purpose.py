"""purpose_of: whether a model generates text, computes embeddings or reranks, by its header."""

from typing import Final, Literal, TypeAlias

from llamabind.gguf.header_fields import GgufHeader

Purpose: TypeAlias = Literal["generation", "embedding", "rerank"]

# Architectures without a decoder (src/llama-arch.cpp), besides those whose name contains "bert".
_ENCODERS: Final = frozenset({"gemma-embedding", "llama-embed", "t5encoder"})
# llama_pooling_type, as `<architecture>.pooling_type` has it: 0 is none.
_RANK: Final = 4
_POOLED: Final = (1, 2, 3)


def is_encoder(architecture: str | None) -> bool:
    """Whether models of this architecture cannot generate text."""
    return architecture is not None and (architecture in _ENCODERS or "bert" in architecture)


def purpose_of(header: GgufHeader) -> Purpose:
    """What a model was made for.

    A classifier or the pooling type "rank" means a reranker. A file that names another pooling type
    was converted from an embedding model, also where its architecture could generate text, as in
    Qwen3-Embedding.
    """
    pooling = header.metadata.get(f"{header.architecture}.pooling_type")
    if header.classifier_outputs or pooling == _RANK:
        return "rerank"
    if pooling in _POOLED or is_encoder(header.architecture):
        return "embedding"
    return "generation"
