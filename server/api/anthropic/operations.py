"""The routes of Anthropic's dialect, for the OpenAPI description."""

from typing import Final

from server.api.anthropic import schema
from server.api.schema.operation import BODY, BUSY, MODEL, Operation

_ERRORS = (*MODEL, *BODY, *BUSY, 409)

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/v1/messages"): Operation(
        tag="Anthropic",
        summary="Answer a conversation in Anthropic's form, whole or as server-sent events",
        body=schema.MessagesBody,
        needs_body=True,
        reply=schema.MessageDocument,
        streams=True,
        errors=_ERRORS,
    ),
    ("POST", "/v1/messages/count_tokens"): Operation(
        tag="Anthropic",
        summary="Count the tokens of a conversation without generating an answer",
        body=schema.CountBody,
        needs_body=True,
        reply=schema.CountDocument,
        errors=_ERRORS,
    ),
}
