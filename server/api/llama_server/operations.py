"""The routes of llama-server's dialect, for the OpenAPI description."""

from typing import Final

from server.api.llama_server import (
    schema_adapters,
    schema_completion,
    schema_models,
    schema_state,
    schema_text,
)
from server.api.schema.operation import BODY, BUSY, MODEL, Operation
from server.api.shared.native_completion import NativeCompletion

_MODEL = (("model", {"type": "string"}),)
_ANSWER = NativeCompletion
_COMPLETION = Operation(
    tag="llama-server",
    summary="Continue one text or several, whole or as server-sent events without [DONE]",
    body=schema_completion.NativeCompletionBody,
    needs_body=True,
    reply=_ANSWER | list[_ANSWER],
    streams=True,
    errors=(*MODEL, *BODY, *BUSY, 409),
)

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/completion"): _COMPLETION,
    ("POST", "/completions"): _COMPLETION,
    ("POST", "/infill"): Operation(
        tag="llama-server",
        summary="Fill a gap in a text, with a model trained for it",
        body=schema_completion.InfillBody,
        needs_body=True,
        reply=_ANSWER | list[_ANSWER],
        streams=True,
        errors=(*MODEL, *BODY, *BUSY, 409),
    ),
    ("POST", "/tokenize"): Operation(
        tag="llama-server",
        summary="Convert a text to tokens",
        body=schema_text.TokenizeBody,
        needs_body=True,
        reply=schema_text.TokensDocument,
        errors=(*MODEL, *BODY, *BUSY, 409),
    ),
    ("POST", "/detokenize"): Operation(
        tag="llama-server",
        summary="Convert tokens to text",
        body=schema_text.DetokenizeBody,
        needs_body=True,
        reply=schema_text.TextDocument,
        errors=(*MODEL, *BODY, *BUSY, 409),
    ),
    ("POST", "/apply-template"): Operation(
        tag="llama-server",
        summary="Render a conversation to its prompt without generating an answer",
        body=schema_text.ApplyTemplateBody,
        needs_body=True,
        reply=schema_text.PromptDocument,
        errors=(*MODEL, *BODY, *BUSY, 409),
    ),
    ("GET", "/props"): Operation(
        tag="llama-server",
        summary="Show the properties of the server or of a model; never loads it",
        reply=schema_state.PropsDocument,
        errors=MODEL,
        query=_MODEL,
    ),
    ("POST", "/props"): Operation(
        tag="llama-server",
        summary="Accepted with --props; changes nothing yet",
        reply=schema_models.SuccessDocument,
        errors=(501,),
    ),
    ("GET", "/slots"): Operation(
        tag="llama-server",
        summary="List the slots of a loaded model, with the request that each one computes",
        reply=list[schema_state.SlotDocument],
        errors=(*MODEL, 409, 429, 500, 501, 503),
        query=(*_MODEL, ("fail_on_no_slot", {"type": "string"})),
    ),
    ("GET", "/lora-adapters"): Operation(
        tag="llama-server",
        summary="List the LoRA adapters of a model and their scales",
        reply=list[schema_adapters.AdapterDocument],
        errors=(*MODEL, 429, 500, 503),
        query=_MODEL,
    ),
    ("POST", "/lora-adapters"): Operation(
        tag="llama-server",
        summary="Set the scales of a model's LoRA adapters for later requests",
        body=list[schema_adapters.AdapterChoice],
        needs_body=True,
        reply=list[schema_adapters.AdapterDocument],
        errors=(*MODEL, *BODY, *BUSY, 409),
        query=_MODEL,
    ),
    ("POST", "/slots/{id_slot}"): Operation(
        tag="llama-server",
        summary="Save the prefix retained in a slot to a file, restore it, or erase it",
        body=schema_state.SlotFileBody,
        reply=schema_state.SlotMovedDocument,
        errors=(*MODEL, *BODY, *BUSY, 409),
        query=(*_MODEL, ("action", {"type": "string"})),
    ),
    ("POST", "/models"): Operation(
        tag="llama-server",
        summary="Start to download a model from the hub, without waiting for the end",
        body=schema_models.ModelBody,
        needs_body=True,
        reply=schema_models.SuccessDocument,
        errors=(*MODEL, *BODY, 429, 500, 501, 502, 503, 507),
    ),
    ("DELETE", "/models"): Operation(
        tag="llama-server",
        summary="Delete a downloaded model from the hub's cache, or end its download",
        reply=schema_models.SuccessDocument,
        errors=(*MODEL, 409, 500),
        query=_MODEL,
    ),
    ("POST", "/models/load"): Operation(
        tag="llama-server",
        summary="Start to load a model, without waiting for the end",
        body=schema_models.ModelBody,
        needs_body=True,
        reply=schema_models.SuccessDocument,
        errors=(*MODEL, *BODY, *BUSY),
    ),
    ("POST", "/models/unload"): Operation(
        tag="llama-server",
        summary="Unload a model; running answers get --drain-seconds to finish",
        body=schema_models.ModelBody,
        needs_body=True,
        reply=schema_models.SuccessDocument,
        errors=(*MODEL, *BODY, 409, 503),
    ),
    ("GET", "/models/sse"): Operation(
        tag="llama-server",
        summary="Watch events of models, as server-sent events in llama-server's form",
        streams=True,
        errors=(429, 503),
    ),
}
