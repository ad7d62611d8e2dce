"""What every route does, for the OpenAPI description. A route that is missing fails a test."""

from typing import Any, Final

from server.api.anthropic import operations as anthropic
from server.api.embeddings import operations as embeddings
from server.api.llama_server import operations as llama_server
from server.api.ollama import operations as ollama
from server.api.openai import operations as completions
from server.api.openai.chat import ChatCompletionBody
from server.api.responses import operations as responses
from server.api.schema import replies
from server.api.schema.operation import BODY, BUSY, CHUNKS, HTML, MODEL, TEXT, Operation
from server.api.v2.schema import ChatBody, UnloadBody
from server.models.events import (
    Lagged,
    LoadProgress,
    ModelEvicted,
    Snapshot,
    StateChanged,
    WorkerCrashed,
)
from server.monitoring.system_metrics import SystemDocument
from server.protocol.load_settings import LoadSettings

_FLAG = {"type": "boolean"}
_EVENTS: Final = (StateChanged, LoadProgress, WorkerCrashed, ModelEvicted, Lagged)
_LIST = Operation(tag="OpenAI", summary="All models in OpenAI's form", reply=replies.OpenAIModels)

_CHAT: Final = Operation(
    tag="OpenAI",
    summary="Answer a conversation in OpenAI's form, whole or as events",
    body=ChatCompletionBody,
    needs_body=True,
    reply=replies.ChatDocument,
    streams=True,
    events=CHUNKS,
    errors=(*MODEL, *BODY, *BUSY, 409),
)
_CHAT_TOKENS: Final = Operation(
    tag="OpenAI",
    summary="The tokens of a conversation; nothing is generated",
    body=ChatCompletionBody,
    needs_body=True,
    reply=replies.InputTokens,
    errors=(*MODEL, *BODY, *BUSY, 409),
)

_OWN: Final[dict[tuple[str, str], Operation]] = {
    ("GET", "/api/v2/models"): Operation(
        tag="Models",
        summary="All models on disk, and those in memory",
        reply=replies.ModelsDocument,
    ),
    ("GET", "/api/v2/models/{model_id}"): Operation(
        tag="Models",
        summary="One model: its file, its state, how it has done; never loads it",
        reply=replies.ModelDocument,
        errors=MODEL,
    ),
    ("POST", "/api/v2/models/{model_id}/load"): Operation(
        tag="Models",
        summary="Load a model, or load it again with other settings; without a body the defaults",
        body=LoadSettings,
        reply=replies.LoadDocument,
        streams=True,
        events=(*_EVENTS, replies.LoadDocument, replies.ErrorDocument),
        errors=(*MODEL, *BODY, *BUSY, 409),
        query=(("stream", _FLAG),),
    ),
    ("POST", "/api/v2/models/{model_id}/unload"): Operation(
        tag="Models",
        summary="Unload a model; running answers finish, within a limit",
        body=UnloadBody,
        reply=replies.UnloadDocument,
        errors=(*MODEL, *BODY, 409, 503),
        query=(("force", _FLAG),),
    ),
    ("POST", "/api/v2/models/{model_id}/estimate"): Operation(
        tag="Models",
        summary="The memory that a load would take, without one",
        body=LoadSettings,
        reply=replies.EstimateDocument,
        errors=(*MODEL, *BODY, *BUSY, 409),
    ),
    ("POST", "/api/v2/chat/{model_id}"): Operation(
        tag="Chat",
        summary="Answer a conversation, whole or with stream as events",
        body=ChatBody,
        needs_body=True,
        reply=replies.ChatDocument,
        streams=True,
        events=CHUNKS,
        errors=(*MODEL, *BODY, *BUSY, 409),
    ),
    ("POST", "/api/v2/chat/{model_id}/stream"): Operation(
        tag="Chat",
        summary="Answer a conversation as it comes, as server-sent events that end with [DONE]",
        body=ChatBody,
        needs_body=True,
        streams=True,
        events=CHUNKS,
        errors=(*MODEL, *BODY, *BUSY, 409),
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
        events=(*_EVENTS, Snapshot),
        errors=(400, 404, 503),
        query=(("model", {"type": "string"}),),
    ),
    ("GET", "/api/v2/openapi.json"): Operation(
        tag="System", summary="This description", reply=dict[str, Any]
    ),
    ("GET", "/docs"): Operation(tag="System", summary="This description, to read", text=HTML),
    ("GET", "/v1/models"): _LIST,
    ("GET", "/models"): _LIST,
    ("GET", "/v1/models/{model_id}"): Operation(
        tag="OpenAI",
        summary="One model in OpenAI's form",
        reply=replies.OpenAIModel,
        errors=MODEL,
    ),
    ("POST", "/v1/chat/completions"): _CHAT,
    ("POST", "/chat/completions"): _CHAT,
    ("POST", "/v1/chat/completions/input_tokens"): _CHAT_TOKENS,
    ("POST", "/chat/completions/input_tokens"): _CHAT_TOKENS,
    ("GET", "/live"): Operation(
        tag="Operation",
        summary="Whether the server's own process works",
        reply=replies.ProbeDocument,
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
        errors=(401, 404, 503),
        query=(("model", {"type": "string"}),),
    ),
    ("GET", "/metrics"): Operation(
        tag="Operation", summary="Figures for Prometheus", text=TEXT, errors=(501,)
    ),
}

OPERATIONS: Final = (
    _OWN
    | anthropic.OPERATIONS
    | completions.OPERATIONS
    | embeddings.OPERATIONS
    | llama_server.OPERATIONS
    | ollama.OPERATIONS
    | responses.OPERATIONS
)
