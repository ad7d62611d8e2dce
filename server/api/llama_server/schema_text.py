"""Requests and answers of llama-server's endpoints for tokens and prompts."""

from typing import Annotated

import msgspec
from msgspec import Meta

from server.api.schema.chat import ChatFields

ModelName = Annotated[str, Meta(min_length=1)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class TokenizeBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /tokenize; `content` is a text, or a list of texts and token ids."""

    content: str | tuple[TokenId | str, ...]
    model: ModelName | None = None
    add_special: bool | None = None
    parse_special: bool | None = None
    with_pieces: bool | None = None


class DetokenizeBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /detokenize."""

    tokens: tuple[TokenId, ...]
    model: ModelName | None = None


class ApplyTemplateBody(ChatFields, frozen=True, kw_only=True):
    """The body of POST /apply-template: the fields of a chat request."""

    model: ModelName | None = None


class TokenPiece(msgspec.Struct, frozen=True):
    """A token and its text; or its bytes as numbers, where they are not valid UTF-8."""

    id: int
    piece: str | list[int]


class TokensDocument(msgspec.Struct, frozen=True):
    """The answer of POST /tokenize."""

    tokens: list[int | TokenPiece]


class TextDocument(msgspec.Struct, frozen=True):
    """The answer of POST /detokenize."""

    content: str


class PromptDocument(msgspec.Struct, frozen=True):
    """The answer of POST /apply-template."""

    prompt: str
