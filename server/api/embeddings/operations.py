"""The routes of embeddings and reranking, for the OpenAPI description."""

from typing import Final

from server.api.embeddings import schema
from server.api.schema.operation import BODY, BUSY, MODEL, Operation

_ERRORS = (*MODEL, *BODY, *BUSY, 409)
_NATIVE = Operation(
    tag="Embeddings",
    summary="Compute embeddings in llama-server's form",
    body=schema.EmbeddingBody,
    needs_body=True,
    reply=list[schema.NativeEmbedding],
    errors=_ERRORS,
)
_RERANK = Operation(
    tag="Embeddings",
    summary="Score documents by relevance to a query, the most relevant first",
    body=schema.RerankBody,
    needs_body=True,
    reply=schema.RerankDocument | list[schema.RankedByScore],
    errors=_ERRORS,
)

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/v1/embeddings"): Operation(
        tag="Embeddings",
        summary="Compute an embedding for each input, in OpenAI's form",
        body=schema.EmbeddingsBody,
        needs_body=True,
        reply=schema.EmbeddingsDocument,
        errors=_ERRORS,
    ),
    ("POST", "/embedding"): _NATIVE,
    ("POST", "/embeddings"): _NATIVE,
    ("POST", "/v1/rerank"): _RERANK,
    ("POST", "/v1/reranking"): _RERANK,
    ("POST", "/rerank"): _RERANK,
    ("POST", "/reranking"): _RERANK,
}
