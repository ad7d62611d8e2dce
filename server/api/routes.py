"""The table of all URLs.

Model ids may contain slashes, plain or as %2F. Every id ends in .gguf, so no path below that goes
on after the id can be mistaken for an id; the order within a method still matters. Endless streams
have no HEAD, which would never end either.
"""

from aiohttp import web

from server.api import monitoring, openapi, probes
from server.api.anthropic import handlers as anthropic
from server.api.embeddings import handlers as vectors
from server.api.llama_server import adapters, completion, props, slot_actions, slots, text
from server.api.llama_server import downloads as llama_server_downloads
from server.api.llama_server import models as llama_server_models
from server.api.ollama import handlers as ollama
from server.api.ollama import models as ollama_models
from server.api.ollama import pull as ollama_pull
from server.api.ollama import show as ollama_show
from server.api.ollama import vectors as ollama_vectors
from server.api.openai import chat as openai
from server.api.openai import completions as texts
from server.api.responses import handlers as responses
from server.api.v2 import chat, downloads, events, hub, models
from server.web import page

# No empty part, so that other spellings of a path (server/http/paths.py) do not end up in an id.
_ID = "{model_id:[^/]+(?:/[^/]+)*}"
_CHAT = ("/v1/chat/completions", "/chat/completions")
_INPUT_TOKENS = ("/v1/responses/input_tokens", "/responses/input_tokens")
_RERANK = ("/v1/rerank", "/v1/reranking", "/rerank", "/reranking")


def routes(prefix: str = "") -> list[web.RouteDef]:
    """Every route of the server, each with `prefix` in front of its path."""
    return [
        web.RouteDef(
            route.method,
            f"{prefix}{route.path}".rstrip("/") or "/",
            route.handler,
            route.kwargs,
        )
        for route in _table()
    ]


def _table() -> list[web.RouteDef]:
    return [
        web.get("/", page.root),
        web.get("/ui/{file:.+}", page.asset),
        web.get("/favicon.ico", page.favicon),
        web.get("/live", probes.live),
        web.get("/health", probes.health),
        web.get("/v1/health", probes.health),
        web.get("/ready", probes.ready),
        web.get("/metrics", monitoring.prometheus),
        web.get("/api/v2/health", monitoring.health),
        web.get("/api/v2/metrics", monitoring.system_metrics),
        web.get("/api/v2/events", events.watch_models, allow_head=False),
        web.get("/api/v2/openapi.json", openapi.openapi),
        web.get("/docs", openapi.page),
        web.get("/api/v2/models", models.list_models),
        web.post(f"/api/v2/models/{_ID}/load", models.load_model),
        web.route("*", f"/api/v2/models/{_ID}/load", monitoring.only_post),
        web.post(f"/api/v2/models/{_ID}/unload", models.unload_model),
        web.route("*", f"/api/v2/models/{_ID}/unload", monitoring.only_post),
        web.post(f"/api/v2/models/{_ID}/estimate", models.estimate_model),
        web.route("*", f"/api/v2/models/{_ID}/estimate", monitoring.only_post),
        web.get(f"/api/v2/models/{_ID}", models.show_model),
        web.delete(f"/api/v2/models/{_ID}", models.delete_model),
        web.get("/api/v2/downloads", downloads.list_downloads),
        web.post("/api/v2/downloads", downloads.start_download),
        web.get("/api/v2/downloads/{id}", downloads.show_download),
        web.delete("/api/v2/downloads/{id}", downloads.cancel_download),
        web.get("/api/v2/hub/models", hub.search_models),
        web.get("/api/v2/hub/models/{org}/{repo}", hub.show_repository),
        web.post(f"/api/v2/chat/{_ID}/stream", chat.chat_stream),
        web.post(f"/api/v2/chat/{_ID}", chat.chat),
        *(web.get(path, openai.list_models) for path in ("/v1/models", "/models")),
        web.get(f"/v1/models/{_ID}", openai.show_model),
        *(web.post(f"{path}/input_tokens", openai.count_tokens) for path in _CHAT),
        *(web.post(path, openai.chat_completions) for path in _CHAT),
        *(web.post(path, responses.create) for path in ("/v1/responses", "/responses")),
        *(web.post(path, responses.count_tokens) for path in _INPUT_TOKENS),
        web.post("/api/chat", ollama.chat),
        web.post("/api/generate", ollama.generate),
        web.post("/api/embed", ollama_vectors.embed),
        web.post("/api/embeddings", ollama_vectors.embeddings),
        web.post("/api/show", ollama_show.show),
        web.post("/api/pull", ollama_pull.pull),
        web.delete("/api/delete", ollama_pull.delete),
        web.get("/api/tags", ollama_models.tags),
        web.get("/api/ps", ollama_models.processes),
        web.get("/api/version", ollama_models.version),
        web.post("/v1/messages", anthropic.messages),
        web.post("/v1/messages/count_tokens", anthropic.count_tokens),
        web.post("/v1/completions", texts.completions),
        *(web.post(path, completion.completion) for path in ("/completion", "/completions")),
        web.post("/infill", completion.infill),
        web.get("/props", props.show_props),
        web.post("/props", props.change_props),
        web.get("/lora-adapters", adapters.list_adapters),
        web.post("/lora-adapters", adapters.set_adapters),
        web.get("/slots", slots.list_slots),
        web.post("/slots/{id_slot}", slot_actions.act_on_slot),
        web.post("/models", llama_server_downloads.download_model),
        web.delete("/models", llama_server_downloads.delete_model),
        web.post("/models/load", llama_server_models.load_model),
        web.post("/models/unload", llama_server_models.unload_model),
        web.get("/models/sse", llama_server_models.watch_models, allow_head=False),
        web.post("/tokenize", text.tokenize),
        web.post("/detokenize", text.detokenize),
        web.post("/apply-template", text.apply_template),
        web.post("/v1/embeddings", vectors.embeddings),
        *(web.post(path, vectors.native_embedding) for path in ("/embedding", "/embeddings")),
        *(web.post(path, vectors.rerank) for path in _RERANK),
    ]
