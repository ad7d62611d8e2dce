"""Requests and answers of embeddings and reranking: OpenAI's, llama-server's, Jina's, TEI's."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from server.api.schema.prompts import MixedText, ModelName, TokenId
from server.errors import InvalidRequestError

Norm = Annotated[int, Meta(ge=-1, le=1 << 15)]
Count = Annotated[int, Meta(ge=0)]
Texts = Annotated[tuple[str, ...], Meta(min_length=1)]


class InputPart(msgspec.Struct, frozen=True):
    """A part of an input: only texts can be embedded."""

    type: str
    text: str | None = None


class InputObject(msgspec.Struct, frozen=True):
    """llama-server's object forms of an input: `prompt_string`, or the parts of a message."""

    prompt_string: MixedText | None = None
    content: tuple[InputPart, ...] | None = None
    multimodal_data: tuple[Any, ...] | None = None

    def text(self, param: str) -> str | tuple[int | str, ...]:
        """The text or tokens. Raises InvalidRequestError naming `param`."""
        if self.multimodal_data:
            raise _not_text(f"{param}.multimodal_data")
        if self.prompt_string is not None:
            return self.prompt_string
        if self.content is None:
            raise InvalidRequestError(
                f"field '{param}': an object needs prompt_string or content", param=param
            )
        for index, part in enumerate(self.content):
            if part.type != "text" or part.text is None:
                raise _not_text(f"{param}.content[{index}]")
        return "".join(part.text or "" for part in self.content)


Input = str | InputObject | tuple[str | TokenId | tuple[str | TokenId, ...] | InputObject, ...]


class EmbeddingsBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /v1/embeddings; `input` is one text, list of token ids or object, or
    several.
    """

    input: Input
    model: ModelName | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    embd_normalize: Norm | None = None


class EmbeddingBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of llama-server's POST /embedding; `embd_normalize` is a norm, -1 for none."""

    content: Input | None = None
    input: Input | None = None
    model: ModelName | None = None
    embd_normalize: Norm | None = None


class RerankBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /v1/rerank. `texts` and `return_text` are the request form of TEI (Hugging
    Face's text-embeddings-inference); with `texts` the answer has TEI's form too.
    """

    query: Annotated[str, Meta(min_length=1)]
    documents: Texts | None = None
    texts: Texts | None = None
    return_text: bool | None = None
    model: ModelName | None = None
    top_n: Annotated[int, Meta(ge=0)] | None = None
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
    """One element of the answer of POST /embedding; `embedding` is a list of one vector, or with
    pooling "none" of one for each token.
    """

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


def inputs_of(value: Input, param: str) -> tuple[str | tuple[int | str, ...], ...]:
    """The inputs as a list; a list with token ids is one input. Raises InvalidRequestError."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, InputObject):
        return (value.text(param),)
    if not value:
        raise InvalidRequestError(f"field '{param}' must not be empty", param=param)
    if any(isinstance(item, int) for item in value):
        flat = [item for item in value if isinstance(item, int | str)]
        if len(flat) < len(value):
            raise InvalidRequestError(
                f"field '{param}': a list with token ids must not contain lists or objects",
                param=param,
            )
        return (tuple(flat),)
    return tuple(
        item.text(f"{param}[{index}]") if isinstance(item, InputObject) else item
        for index, item in enumerate(value)
        if not isinstance(item, int)
    )


def _not_text(param: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"field '{param}': only texts can be embedded, not images or audio", param=param
    )
