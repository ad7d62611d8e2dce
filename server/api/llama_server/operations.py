"""What llama-server's own routes do, for the OpenAPI description."""

from typing import Final

from server.api.llama_server import schema_text
from server.api.operation import BODY, BUSY, MODEL, Operation

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/tokenize"): Operation(
        tag="llama-server",
        summary="The tokens of a text",
        body=schema_text.TokenizeBody,
        needs_body=True,
        reply=schema_text.TokensDocument,
        errors=(*MODEL, *BODY, *BUSY, 409),
    ),
    ("POST", "/detokenize"): Operation(
        tag="llama-server",
        summary="The text of tokens",
        body=schema_text.DetokenizeBody,
        needs_body=True,
        reply=schema_text.TextDocument,
        errors=(*MODEL, *BODY, *BUSY, 409),
    ),
    ("POST", "/apply-template"): Operation(
        tag="llama-server",
        summary="The prompt that a chat becomes; nothing is generated",
        body=schema_text.ApplyTemplateBody,
        needs_body=True,
        reply=schema_text.PromptDocument,
        errors=(*MODEL, *BODY, *BUSY, 409),
    ),
}
