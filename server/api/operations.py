"""What every route does, for the OpenAPI description. A route that is missing fails a test."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from server.api import schema_replies as replies
from server.api.schema_openai import CompletionBody
from server.api.schema_v2 import ChatBody, UnloadBody
from server.load_settings import LoadSettings
from server.system_metrics import SystemDocument

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
TEXT: Final = "text/plain"
HTML: Final = "text/html"

_FLAG = {"type": "boolean"}
# What any path may answer: keys, hosts and methods are looked at before the handler.
_ALWAYS = (401, 403)
_MODEL = (400, 404)
# A body over the limit, too slow, or in an encoding nobody knows.
_BODY = (408, 413)
_BUSY = (429, 500, 501, 503, 507)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route. `reply` is the struct of a 200 in JSON; `streams` adds server-sent events.

    `body` is the very struct that parses the request; `query` maps parameters to their schemas.
    """

    tag: str
    summary: str
    body: type[msgspec.Struct] | None = None
    needs_body: bool = False
    reply: Any = None
    streams: bool = False
    text: str | None = None
    errors: tuple[int, ...] = ()
    query: tuple[tuple[str, dict[str, str]], ...] = ()

    @property
    def all_errors(self) -> tuple[int, ...]:
        """Every status but 200 that it may answer with."""
        return tuple(sorted({*_ALWAYS, *self.errors}))


OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("GET", "/api/v2/models"): Operation(
        tag="Models",
        summary="All models on disk, and those in memory",
        reply=replies.ModelsDocument,
    ),
    ("GET", "/api/v2/models/{model_id}"): Operation(
        tag="Models",
        summary="One model: its file, its state, how it has done; never loads it",
        reply=replies.ModelDocument,
        errors=_MODEL,
    ),
    ("POST", "/api/v2/models/{model_id}/load"): Operation(
        tag="Models",
        summary="Load a model, or load it again with other settings; without a body the defaults",
        body=LoadSettings,
        reply=replies.LoadDocument,
        streams=True,
        errors=(*_MODEL, *_BODY, *_BUSY, 409),
        query=(("stream", _FLAG),),
    ),
    ("POST", "/api/v2/models/{model_id}/unload"): Operation(
        tag="Models",
        summary="Unload a model; running answers finish, within a limit",
        body=UnloadBody,
        reply=replies.UnloadDocument,
        errors=(*_MODEL, *_BODY, 409, 503),
        query=(("force", _FLAG),),
    ),
    ("POST", "/api/v2/models/{model_id}/estimate"): Operation(
        tag="Models",
        summary="The memory that a load would take, without one",
        body=LoadSettings,
        reply=dict[str, Any],
        errors=(*_MODEL, *_BODY, *_BUSY, 409),
    ),
    ("POST", "/api/v2/chat/{model_id}"): Operation(
        tag="Chat",
        summary="Answer a conversation",
        body=ChatBody,
        needs_body=True,
        reply=replies.ChatDocument,
        errors=(*_MODEL, *_BODY, *_BUSY, 409),
    ),
    ("POST", "/api/v2/chat/{model_id}/stream"): Operation(
        tag="Chat",
        summary="Answer a conversation as it comes, as server-sent events that end with [DONE]",
        body=ChatBody,
        needs_body=True,
        streams=True,
        errors=(*_MODEL, *_BODY, *_BUSY, 409),
    ),
    ("GET", "/api/v2/metrics"): Operation(
        tag="System", summary="CPU, memory and GPUs of the machine", reply=SystemDocument
    ),
    ("GET", "/api/v2/health"): Operation(
        tag="System",
        summary="Whether the server serves, since when, and its latest failure",
        reply=replies.HealthDocument,
    ),
    ("GET", "/api/v2/events"): Operation(
        tag="System",
        summary="What happens to models, as server-sent events",
        streams=True,
        errors=(400, 404, 503),
        query=(("model", {"type": "string"}),),
    ),
    ("GET", "/api/v2/openapi.json"): Operation(
        tag="System", summary="This description", reply=dict[str, Any]
    ),
    ("GET", "/docs"): Operation(tag="System", summary="This description, to read", text=HTML),
    ("GET", "/v1/models"): Operation(
        tag="OpenAI", summary="All models in OpenAI's form", reply=replies.OpenAIModels
    ),
    ("GET", "/v1/models/{model_id}"): Operation(
        tag="OpenAI",
        summary="One model in OpenAI's form",
        reply=replies.OpenAIModel,
        errors=_MODEL,
    ),
    ("POST", "/v1/chat/completions"): Operation(
        tag="OpenAI",
        summary="Answer a conversation in OpenAI's form, whole or as events",
        body=CompletionBody,
        needs_body=True,
        reply=replies.ChatDocument,
        streams=True,
        errors=(*_MODEL, *_BODY, *_BUSY, 409),
    ),
    ("GET", "/live"): Operation(
        tag="Operation",
        summary="Whether the server works; 503 if only a restart would help",
        reply=replies.ProbeDocument,
        errors=(503,),
    ),
    ("GET", "/health"): Operation(
        tag="Operation",
        summary="llama-server's health, and the state of every model that is more than a file",
        reply=replies.ProbeDocument,
        errors=(503,),
    ),
    ("GET", "/v1/health"): Operation(
        tag="Operation", summary="The same", reply=replies.ProbeDocument, errors=(503,)
    ),
    ("GET", "/ready"): Operation(
        tag="Operation",
        summary="Whether requests are taken; with a model, whether it answers without a load",
        reply=replies.ProbeDocument,
        errors=(404, 503),
        query=(("model", {"type": "string"}),),
    ),
    ("GET", "/metrics"): Operation(
        tag="Operation", summary="Figures for Prometheus", text=TEXT, errors=(501,)
    ),
}
