"""The routes of Ollama's dialect, for the OpenAPI description."""

from typing import Final

from server.api.ollama import schema
from server.api.schema.operation import BODY, BUSY, MODEL, Operation

_ERRORS = (*MODEL, *BODY, *BUSY, 409)

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/api/chat"): Operation(
        tag="Ollama",
        summary="Answer a conversation, streamed line by line unless `stream` is false",
        body=schema.OllamaChatBody,
        needs_body=True,
        reply=schema.OllamaAnswer,
        lines=True,
        error=schema.OllamaError,
        errors=_ERRORS,
    ),
    ("POST", "/api/generate"): Operation(
        tag="Ollama",
        summary="Answer a prompt, streamed line by line unless `stream` is false",
        body=schema.GenerateBody,
        needs_body=True,
        reply=schema.OllamaAnswer,
        lines=True,
        error=schema.OllamaError,
        errors=_ERRORS,
    ),
    ("POST", "/api/embed"): Operation(
        tag="Ollama",
        summary="Compute an embedding for each text",
        body=schema.EmbedBody,
        needs_body=True,
        reply=schema.OllamaVectors,
        error=schema.OllamaError,
        errors=_ERRORS,
    ),
    ("POST", "/api/embeddings"): Operation(
        tag="Ollama",
        summary="Compute the embedding of one text, in Ollama's older form",
        body=schema.OllamaEmbeddingsBody,
        needs_body=True,
        reply=schema.OllamaVector,
        error=schema.OllamaError,
        errors=_ERRORS,
    ),
    ("POST", "/api/show"): Operation(
        tag="Ollama",
        summary="Show a model",
        body=schema.ShowBody,
        needs_body=True,
        reply=schema.OllamaModel,
        error=schema.OllamaError,
        errors=(*MODEL, *BODY),
    ),
    ("POST", "/api/pull"): Operation(
        tag="Ollama",
        summary="Download a model from the hub, with its progress line by line",
        body=schema.PullBody,
        needs_body=True,
        reply=schema.OllamaStatus,
        lines=True,
        error=schema.OllamaError,
        errors=(*MODEL, *BODY, 429, 500, 501, 502, 503, 507),
    ),
    ("DELETE", "/api/delete"): Operation(
        tag="Ollama",
        summary="Delete a downloaded model from the hub's cache; the answer is empty",
        body=schema.DeleteBody,
        needs_body=True,
        error=schema.OllamaError,
        errors=(*MODEL, *BODY, 409, 500),
    ),
    ("GET", "/api/tags"): Operation(
        tag="Ollama",
        summary="List all models on disk",
        reply=schema.OllamaModels,
        error=schema.OllamaError,
    ),
    ("GET", "/api/ps"): Operation(
        tag="Ollama",
        summary="List the models in memory",
        reply=schema.OllamaModels,
        error=schema.OllamaError,
    ),
    ("GET", "/api/version"): Operation(
        tag="Ollama",
        summary="Show the version of Ollama's API, and of this server",
        reply=schema.VersionDocument,
        error=schema.OllamaError,
    ),
}
