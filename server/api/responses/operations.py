"""The routes of the Responses API, for the OpenAPI description."""

from typing import Final

from server.api.responses import schema
from server.api.schema.operation import BODY, BUSY, MODEL, Operation
from server.api.schema.replies.answers import InputTokens

_ERRORS = (*MODEL, *BODY, *BUSY, 409)
_CREATE = Operation(
    tag="OpenAI",
    summary="Answer a conversation as a response, whole or as server-sent events; stores nothing",
    body=schema.ResponsesBody,
    needs_body=True,
    reply=schema.ResponseDocument,
    streams=True,
    errors=_ERRORS,
)
_COUNT = Operation(
    tag="OpenAI",
    summary="Count the prompt tokens of a request without generating an answer",
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
