"""Embeddings and reranking in the forms of OpenAI, llama-server, Jina and TEI."""

import base64

from aiohttp import web

from server.api.embeddings.schema import (
    EmbeddingBody,
    EmbeddingItem,
    EmbeddingsBody,
    EmbeddingsDocument,
    InputCounts,
    NativeEmbedding,
    Ranked,
    RankedByScore,
    RankedText,
    RerankBody,
    RerankDocument,
    inputs_of,
)
from server.api.shared.served_model import served_model
from server.api.shared.vectors import EUCLIDEAN, read_vectors, token_vectors
from server.errors import InvalidRequestError
from server.http.app_keys import CONFIG, REGISTRY
from server.http.body.json_body import json_reply, read_body
from server.protocol.tasks import Embed, Rank, Scores, Vectors
from server.requests.dispatch import ask


async def embeddings(request: web.Request) -> web.Response:
    """POST /v1/embeddings."""
    body = await read_body(request, EmbeddingsBody)
    model_id = served_model(request, body.model)
    norm = _norm(request, body.embd_normalize)
    task = Embed(inputs=inputs_of(body.input, "input"), normalize=norm == EUCLIDEAN)
    result = await ask(request.app[REGISTRY], model_id, task)
    assert isinstance(result, Vectors)
    vectors = read_vectors(result, body.dimensions, norm)
    is_base64 = body.encoding_format == "base64"
    items = [
        EmbeddingItem(
            index=index,
            embedding=base64.b64encode(vector.tobytes()).decode() if is_base64 else vector.tolist(),
        )
        for index, vector in enumerate(vectors)
    ]
    usage = _counts(sum(result.n_tokens))
    return json_reply(EmbeddingsDocument(data=items, model=body.model or model_id, usage=usage))


async def native_embedding(request: web.Request) -> web.Response:
    """POST /embedding and /embeddings: llama-server's form."""
    body = await read_body(request, EmbeddingBody)
    param = "content" if body.input is None else "input"
    value = body.content if body.input is None else body.input
    if value is None:
        raise InvalidRequestError("field 'content' is required", param="content")
    norm = _norm(request, body.embd_normalize)
    task = Embed(inputs=inputs_of(value, param), normalize=norm == EUCLIDEAN, of_tokens=True)
    result = await ask(request.app[REGISTRY], served_model(request, body.model), task)
    assert isinstance(result, Vectors)
    if result.are_of_tokens:
        # As in llama-server these are never scaled.
        vectors = token_vectors(result)
    else:
        vectors = [[vector.tolist()] for vector in read_vectors(result, norm=norm)]
    return json_reply([NativeEmbedding(*numbered) for numbered in enumerate(vectors)])


async def rerank(request: web.Request) -> web.Response:
    """POST /v1/rerank."""
    body = await read_body(request, RerankBody)
    documents = body.documents or body.texts
    if documents is None:
        raise InvalidRequestError("field 'documents' is required", param="documents")
    model_id = served_model(request, body.model)
    result = await ask(request.app[REGISTRY], model_id, Rank(query=body.query, documents=documents))
    assert isinstance(result, Scores)
    scores = result.scores
    best = sorted(range(len(scores)), key=lambda index: -scores[index])[: body.top_n]
    if body.texts is not None:
        with_text = body.return_text
        return json_reply(
            [
                RankedByScore(index, scores[index], documents[index] if with_text else None)
                for index in best
            ]
        )
    ranked = [
        Ranked(
            index,
            scores[index],
            RankedText(documents[index]) if body.return_documents else None,
        )
        for index in best
    ]
    usage = _counts(result.n_tokens)
    return json_reply(RerankDocument(results=ranked, model=body.model or model_id, usage=usage))


def _norm(request: web.Request, requested: int | None) -> int:
    return request.app[CONFIG].embd_normalize if requested is None else requested


def _counts(n_tokens: int) -> InputCounts:
    return InputCounts(n_tokens, n_tokens)
