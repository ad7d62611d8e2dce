"""An Operation for every route, for the OpenAPI description. A test fails if a route has none."""

from typing import Any, Final

from server.api.anthropic import operations as anthropic
from server.api.embeddings import operations as embeddings
from server.api.llama_server import operations as llama_server
from server.api.ollama import operations as ollama
from server.api.openai import operations as completions
from server.api.openai.chat import ChatCompletionBody
from server.api.responses import operations as responses
from server.api.schema.operation import BODY, BUSY, CHUNKS, HTML, MODEL, SVG, TEXT, Operation
from server.api.schema.replies import answers, errors, model_lists, models, probes
from server.api.v2 import operations as downloads
from server.api.v2.schema import ChatBody, UnloadBody
from server.models.events import (
    DownloadChanged,
    Lagged,
    LoadProgress,
    ModelEvicted,
    ModelsChanged,
    Snapshot,
    StateChanged,
    WorkerCrashed,
)
from server.monitoring.model_figures import MetricsDocument
from server.protocol.load_settings import LoadSettings

_FLAG = {"type": "boolean"}
_EVENTS: Final = (StateChanged, LoadProgress, WorkerCrashed, ModelEvicted, Lagged)
_LIST = Operation(
    tag="OpenAI",
    summary="List all models in OpenAI's form",
    reply=model_lists.OpenAIModels,
    errors=(400, 403),
    query=(("reload", {"type": "string"}),),
)

_CHAT: Final = Operation(
    tag="OpenAI",
    summary="Answer a conversation in OpenAI's form, whole or as server-sent events",
    body=ChatCompletionBody,
    needs_body=True,
    reply=answers.ChatDocument,
    streams=True,
    events=CHUNKS,
    errors=(*MODEL, *BODY, *BUSY, 409),
)
_CHAT_TOKENS: Final = Operation(
    tag="OpenAI",
    summary="Count the tokens of a conversation without generating an answer",
    body=ChatCompletionBody,
    needs_body=True,
    reply=answers.InputTokens,
    errors=(*MODEL, *BODY, *BUSY, 409),
)

_OWN: Final[dict[tuple[str, str], Operation]] = {
    ("GET", "/api/v2/models"): Operation(
        tag="Models",
        summary="List all models on disk, and those in memory",
        reply=models.ModelsDocument,
    ),
    ("GET", "/api/v2/models/{model_id}"): Operation(
        tag="Models",
        summary="Show a model: its file, state, settings and performance; never loads it",
        reply=models.ModelDocument,
        errors=MODEL,
    ),
    ("POST", "/api/v2/models/{model_id}/load"): Operation(
        tag="Models",
        summary="Load a model, or reload it with other settings; without a body with the defaults",
        body=LoadSettings,
        reply=models.LoadDocument,
        streams=True,
        events=(*_EVENTS, models.LoadDocument, errors.ErrorDocument),
        errors=(*MODEL, *BODY, *BUSY, 409),
        query=(("stream", _FLAG),),
    ),
    ("POST", "/api/v2/models/{model_id}/unload"): Operation(
        tag="Models",
        summary="Unload a model; running answers get --drain-seconds to finish",
        body=UnloadBody,
        reply=models.UnloadDocument,
        errors=(*MODEL, *BODY, 409, 503),
        query=(("force", _FLAG),),
    ),
    ("POST", "/api/v2/models/{model_id}/estimate"): Operation(
        tag="Models",
        summary="Estimate the memory that a load would take, without loading",
        body=LoadSettings,
        reply=models.EstimateDocument,
        errors=(*MODEL, *BODY, *BUSY, 409),
    ),
    ("POST", "/api/v2/chat/{model_id}"): Operation(
        tag="Chat",
        summary="Answer a conversation, whole, or with `stream` as server-sent events",
        body=ChatBody,
        needs_body=True,
        reply=answers.ChatDocument,
        streams=True,
        events=CHUNKS,
        errors=(*MODEL, *BODY, *BUSY, 409),
    ),
    ("POST", "/api/v2/chat/{model_id}/stream"): Operation(
        tag="Chat",
        summary="Stream the answer to a conversation, as server-sent events that end with [DONE]",
        body=ChatBody,
        needs_body=True,
        streams=True,
        events=CHUNKS,
        errors=(*MODEL, *BODY, *BUSY, 409),
    ),
    ("GET", "/api/v2/metrics"): Operation(
        tag="System",
        summary="Show CPU, memory and GPUs of the machine, and the load of models in memory",
        reply=MetricsDocument,
    ),
    ("GET", "/api/v2/health"): Operation(
        tag="System",
        summary="Show the server's version, uptime and latest failure",
        reply=probes.HealthDocument,
    ),
    ("GET", "/api/v2/events"): Operation(
        tag="System",
        summary="Watch loads, unloads and crashes of models, as server-sent events",
        streams=True,
        events=(*_EVENTS, DownloadChanged, ModelsChanged, Snapshot),
        errors=(400, 404, 429, 503),
        query=(("model", {"type": "string"}),),
    ),
    ("GET", "/api/v2/openapi.json"): Operation(
        tag="System", summary="Get this description as JSON", reply=dict[str, Any]
    ),
    ("GET", "/docs"): Operation(
        tag="System", summary="Show this description as a web page", text=HTML
    ),
    ("GET", "/v1/models"): _LIST,
    ("GET", "/models"): _LIST,
    ("GET", "/v1/models/{model_id}"): Operation(
        tag="OpenAI",
        summary="Show a model in OpenAI's form",
        reply=model_lists.OpenAIModel,
        errors=MODEL,
    ),
    ("POST", "/v1/chat/completions"): _CHAT,
    ("POST", "/chat/completions"): _CHAT,
    ("POST", "/v1/chat/completions/input_tokens"): _CHAT_TOKENS,
    ("POST", "/chat/completions/input_tokens"): _CHAT_TOKENS,
    ("GET", "/"): Operation(
        tag="Operation",
        summary="Show the web page to browsers, otherwise a line of text: the server runs",
        text=TEXT,
    ),
    ("GET", "/ui/{file}"): Operation(
        tag="Operation",
        summary="Get a script, style sheet or image of the web page",
        text=TEXT,
        errors=(404,),
    ),
    ("GET", "/favicon.ico"): Operation(
        tag="Operation", summary="Get the web page's icon", text=SVG, errors=(404,)
    ),
    ("GET", "/live"): Operation(
        tag="Operation",
        summary="Liveness probe: 200 while the server's own process answers",
        reply=probes.ProbeDocument,
    ),
    ("GET", "/health"): Operation(
        tag="Operation",
        summary="llama-server's health check, with the state of all models in use or failed",
        reply=probes.ProbeDocument,
        errors=(503,),
    ),
    ("GET", "/v1/health"): Operation(
        tag="Operation", summary="Same as /health", reply=probes.ProbeDocument, errors=(503,)
    ),
    ("GET", "/ready"): Operation(
        tag="Operation",
        summary="Readiness probe: of the server, or with ?model of a loaded model",
        reply=probes.ProbeDocument,
        errors=(401, 404, 503),
        query=(("model", {"type": "string"}),),
    ),
    ("GET", "/metrics"): Operation(
        tag="Operation", summary="Metrics in Prometheus format", text=TEXT, errors=(501,)
    ),
}

OPERATIONS: Final = (
    _OWN
    | anthropic.OPERATIONS
    | completions.OPERATIONS
    | downloads.OPERATIONS
    | embeddings.OPERATIONS
    | llama_server.OPERATIONS
    | ollama.OPERATIONS
    | responses.OPERATIONS
)
