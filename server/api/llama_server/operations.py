"""What llama-server's own routes do, for the OpenAPI description."""

from typing import Final

from server.api.llama_server import schema_models, schema_text
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
    ("POST", "/models/load"): Operation(
        tag="llama-server",
        summary="Begin to load a model; does not wait for the end",
        body=schema_models.ModelBody,
        needs_body=True,
        reply=schema_models.SuccessDocument,
        errors=(*MODEL, *BODY, *BUSY),
    ),
    ("POST", "/models/unload"): Operation(
        tag="llama-server",
        summary="Unload a model; running answers finish, within a limit",
        body=schema_models.ModelBody,
        needs_body=True,
        reply=schema_models.SuccessDocument,
        errors=(*MODEL, *BODY, 409, 503),
    ),
    ("GET", "/models/sse"): Operation(
        tag="llama-server",
        summary="What happens to models, as server-sent events in llama-server's words",
        streams=True,
        errors=(503,),
    ),
}
