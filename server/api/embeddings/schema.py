"""Requests and answers of embeddings and reranking: OpenAI's, llama-server's, Jina's, TEI's."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from server.errors import InvalidRequestError

ModelName = Annotated[str, Meta(min_length=1)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Input = str | tuple[str | TokenId | tuple[TokenId, ...], ...]
Count = Annotated[int, Meta(ge=0)]
Texts = Annotated[tuple[str, ...], Meta(min_length=1)]


class EmbeddingsBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /v1/embeddings; `input` is one text or list of token ids, or several."""

    input: Input
    model: ModelName | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None


class EmbeddingBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of llama-server's POST /embedding; `embd_normalize` is -1 for raw vectors."""

    content: Input | None = None
    input: Input | None = None
    model: ModelName | None = None
    embd_normalize: Literal[-1, 2] | None = None


class RerankBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /v1/rerank. `texts` and `return_text` are the request form of TEI (Hugging
    Face's text-embeddings-inference); with `texts` the answer has TEI's form too.
    """

    query: Annotated[str, Meta(min_length=1)]
    documents: Texts | None = None
    texts: Texts | None = None
    return_text: bool | None = None
    model: ModelName | None = None
    top_n: Annotated[int, Meta(ge=1)] | None = None
    return_documents: bool | None = None


class InputCounts(msgspec.Struct, frozen=True):
    """Tokens of all inputs together."""

    prompt_tokens: Count
    total_tokens: Count


class EmbeddingItem(msgspec.Struct, frozen=True, kw_only=True):
    """One embedding: a list of numbers, or base64 of little-endian 32-bit floats."""

    object: Literal["embedding"] = "embedding"
    index: Count
    embedding: list[float] | str


class EmbeddingsDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of POST /v1/embeddings."""

    object: Literal["list"] = "list"
    data: list[EmbeddingItem]
    model: str
    usage: InputCounts


class NativeEmbedding(msgspec.Struct, frozen=True):
    """One element of the answer of POST /embedding; `embedding` is a list of one vector."""

    index: Count
    embedding: list[list[float]]


class RankedText(msgspec.Struct, frozen=True):
    """The text of a document in the request."""

    text: str


class Ranked(msgspec.Struct, frozen=True, omit_defaults=True):
    """A document's index in `documents`, and its score; higher is more relevant."""

    index: Count
    relevance_score: float
    document: RankedText | None = None


class RankedByScore(msgspec.Struct, frozen=True, omit_defaults=True):
    """A document's index in `texts`, and its score, in TEI's form."""

    index: Count
    score: float
    text: str | None = None


class RerankDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of POST /v1/rerank, the most relevant document first."""

    object: Literal["list"] = "list"
    results: list[Ranked]
    model: str
    usage: InputCounts


def inputs_of(value: Input, param: str) -> tuple[str | tuple[int, ...], ...]:
    """The inputs as a list; a list of token ids is one input. Raises InvalidRequestError."""
    if isinstance(value, str):
        return (value,)
    if not value:
        raise InvalidRequestError(f"field '{param}' must not be empty", param=param)
    tokens = [item for item in value if isinstance(item, int)]
    if not tokens:
        return tuple(item for item in value if not isinstance(item, int))
    if len(tokens) < len(value):
        raise InvalidRequestError(
            f"field '{param}': a list with token ids must contain nothing else", param=param
        )
    return (tuple(tokens),)
