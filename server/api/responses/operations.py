"""What the routes of the Responses API do, for the OpenAPI description."""

from typing import Final

from server.api.responses import schema
from server.api.schema.operation import BODY, BUSY, MODEL, Operation
from server.api.schema.replies import InputTokens

_ERRORS = (*MODEL, *BODY, *BUSY, 409)
_CREATE = Operation(
    tag="OpenAI",
    summary="Answer a conversation as a response, whole or as events; nothing is stored",
    body=schema.ResponsesBody,
    needs_body=True,
    reply=schema.ResponseDocument,
    streams=True,
    errors=_ERRORS,
)
_COUNT = Operation(
    tag="OpenAI",
    summary="The tokens that a response would begin with; nothing is generated",
    body=schema.InputTokensBody,
    needs_body=True,
    reply=InputTokens,
    errors=_ERRORS,
)

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/v1/responses"): _CREATE,
    ("POST", "/responses"): _CREATE,
    ("POST", "/v1/responses/input_tokens"): _COUNT,
    ("POST", "/responses/input_tokens"): _COUNT,
}
