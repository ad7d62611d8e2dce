"""The routes of text completions, for the OpenAPI description."""

from typing import Final

from server.api.openai import completion_schema
from server.api.schema.operation import BODY, BUSY, MODEL, Operation

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/v1/completions"): Operation(
        tag="OpenAI",
        summary="Continue a text in OpenAI's form, whole or as server-sent events",
        body=completion_schema.CompletionBody,
        needs_body=True,
        reply=completion_schema.CompletionDocument,
        streams=True,
        errors=(*MODEL, *BODY, *BUSY, 409),
    ),
}
