"""llama-server's /tokenize, /detokenize and /apply-template."""

from aiohttp import web

from server.api.llama_server.schema_text import (
    ApplyTemplateBody,
    DetokenizeBody,
    PromptDocument,
    TextDocument,
    TokenizeBody,
    TokenPiece,
    TokensDocument,
)
from server.api.shared.generate import render
from server.api.shared.served_model import served_model
from server.http.app_keys import CALLER, REGISTRY
from server.http.body.json_body import json_reply, read_body
from server.protocol.tasks import Detokenize, Text, Tokenize, Tokens
from server.requests.dispatch import ask


async def tokenize(request: web.Request) -> web.Response:
    """POST /tokenize: the tokens of a text, with `with_pieces` also their texts."""
    body = await read_body(request, TokenizeBody)
    task = Tokenize(
        content=body.content,
        add_special=bool(body.add_special),
        parse_special=body.parse_special is not False,
        with_pieces=bool(body.with_pieces),
    )
    result = await ask(request.app[REGISTRY], served_model(request, body.model), task)
    assert isinstance(result, Tokens)
    if not task.with_pieces:
        return json_reply(TokensDocument(list(result.tokens)))
    pairs = zip(result.tokens, result.pieces, strict=True)
    return json_reply(TokensDocument([TokenPiece(token, _text(piece)) for token, piece in pairs]))


async def detokenize(request: web.Request) -> web.Response:
    """POST /detokenize: the text of tokens."""
    body = await read_body(request, DetokenizeBody)
    task = Detokenize(body.tokens)
    result = await ask(request.app[REGISTRY], served_model(request, body.model), task)
    assert isinstance(result, Text)
    return json_reply(TextDocument(result.text))


async def apply_template(request: web.Request) -> web.Response:
    """POST /apply-template: the conversation rendered to its prompt."""
    body = await read_body(request, ApplyTemplateBody)
    rendered = await render(
        request, served_model(request, body.model), body.to_job(request[CALLER].name)
    )
    return json_reply(PromptDocument(rendered.prompt))


def _text(piece: bytes) -> str | list[int]:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)
