"""EmbeddingEngine: vectors and relevance scores for many callers at once."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from llamabind.context.compute_threads import ComputeThreads
from llamabind.context.context import Context
from llamabind.context.memory_report import MemoryReport
from llamabind.context.params import ContextParams
from llamabind.embedding.config import EmbeddingConfig, EmbeddingTraits
from llamabind.embedding.queue import EmbeddingRequest
from llamabind.embedding.rerank_prompt import RerankPrompt
from llamabind.embedding.runner import EmbeddingRunner
from llamabind.embedding.thread import EmbeddingThread
from llamabind.errors import InvalidParameterError
from llamabind.native.model import Model
from llamabind.system.close_guard import CloseGuard
from llamabind.system.closing import Closing
from llamabind.system.cpus import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    from llamabind.native.model_params import ModelParams


class EmbeddingEngine(Closing):
    """Computes embeddings with a loaded model, in a context and on a thread of its own.

    Any number of threads may call it; their inputs share decodes. Texts are tokenised with the
    special tokens the vocabulary adds, and special tokens written in them count as such. Closing
    the model closes it first. `context_params`, `flash_attn` and `memory` say what it came to.
    """

    def __init__(self, model: Model, config: EmbeddingConfig | None = None) -> None:
        """Raises ContextCreateError when there is no memory for the context."""
        config = config or EmbeddingConfig()
        self.model = model
        self._closing = threading.RLock()
        traits = embedding_traits(model)
        with ExitStack() as undo:
            context = Context(model, config.context_params(traits))
            threads = ComputeThreads(context, config.n_threads, None, n_max=usable_cores())
            undo.callback(threads.close)  # after the context that uses them
            undo.enter_context(context)
            self.shape = config.shape(traits, context.n_batch, context.n_seq_max)
            self.pooling = context.pooling_type
            self.context_params = context.params
            self.flash_attn = context.flash_attn
            self.memory = MemoryReport.of(context)
            self._runner = EmbeddingRunner(context, threads)
            undo.callback(self._runner.close)
            self._thread = EmbeddingThread(self._runner, self.shape, config.max_waiting)
            undo.callback(self._thread.close)
            self._close_guard = CloseGuard("EmbeddingEngine")
            undo.callback(self._close_guard.close)
            self._resources = undo.pop_all()
        model.adopt(self)
        self._rerank_prompt = RerankPrompt(model)

    @property
    def n_embd(self) -> int:
        """The length of a vector; with pooling "rank" the number of scores."""
        return self.model.n_cls_out if self.pooling == "rank" else self.model.n_embd_out

    def tokenize(self, inputs: Sequence[str | Sequence[int]]) -> list[list[int]]:
        """Return the tokens of each input; those given as tokens stay as they are."""
        with self._close_guard.entered():
            return [self._tokens(item) for item in inputs]

    def submit(
        self, inputs: Sequence[Sequence[int]], caller: Hashable | None = None
    ) -> Future[list[NDArray[np.float32]]]:
        """Start computing tokenised inputs; the future gets an array for each, not normalised.

        Shape (n_embd,), with pooling "none" (n_tokens, n_embd). Cancelling the future drops what is
        not yet computed. Inputs of different `caller` keys take turns; without a key a call is a
        caller of its own. Raises InputTooLongError with both numbers, InvalidParameterError,
        QueueFullError or EngineStoppedError; nothing was started then.
        """
        request = EmbeddingRequest(inputs, caller)
        self._thread.submit(request)
        return request.future

    def embed(
        self, inputs: Sequence[str | Sequence[int]], *, normalize: bool = True
    ) -> NDArray[np.float32]:
        """Return a pooled vector for each input, shape (n, n_embd), in their order.

        `normalize` makes every vector one of length 1, a zero vector stays zero. Raises like
        submit(), and InvalidParameterError with pooling "none" or "rank".
        """
        self.check_embeds()
        return self.stacked(_wait(self.submit(self.tokenize(inputs))), normalize=normalize)

    def embed_tokens(
        self, inputs: Sequence[str | Sequence[int]], *, normalize: bool = False
    ) -> list[NDArray[np.float32]]:
        """Return for each input a vector for each of its tokens, shape (n_tokens, n_embd).

        Needs pooling "none". Raises like submit().
        """
        self._check_pooling("none")
        vectors = _wait(self.submit(self.tokenize(inputs)))
        return [normalized(rows) for rows in vectors] if normalize else vectors

    def score(self, inputs: Sequence[str | Sequence[int]]) -> NDArray[np.float32]:
        """Return what the model's classifier says of each input, shape (n, n_cls_out).

        Needs pooling "rank". Raises like submit().
        """
        self.check_ranks()
        return self.stacked(_wait(self.submit(self.tokenize(inputs))))

    def rerank(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """Return the relevance of each document to the query, shape (n,); higher is better.

        Scores are the model's own, most often logits: they order documents and mean nothing else.
        Needs pooling "rank". Raises like submit().
        """
        self.check_ranks()
        return self.stacked(_wait(self.submit(self.rerank_inputs(query, documents))))[:, 0]

    def rerank_inputs(self, query: str, documents: Sequence[str]) -> list[list[int]]:
        """Return the tokens that rerank() computes for each document."""
        with self._close_guard.entered():
            return [self._rerank_prompt.encode(query, document) for document in documents]

    def stacked(
        self, vectors: Sequence[NDArray[np.float32]], *, normalize: bool = False
    ) -> NDArray[np.float32]:
        """Return the answer of submit() as one array, shape (n, n_embd)."""
        stacked = np.stack(vectors) if vectors else np.empty((0, self.n_embd), np.float32)
        return normalized(stacked) if normalize else stacked

    def check_embeds(self) -> None:
        """Raise InvalidParameterError unless there is one vector for each input."""
        if self.pooling in ("none", "rank"):
            instead = "embed_tokens" if self.pooling == "none" else "rerank or score"
            raise InvalidParameterError(
                "pooling", f'"{self.pooling}" gives no vector for an input: use {instead}'
            )

    def check_ranks(self) -> None:
        """Raise InvalidParameterError unless inputs get scores."""
        self._check_pooling("rank")

    def close(self) -> None:
        """Answer what waits with EngineStoppedError and free the context; again does nothing."""
        # Two threads in one ExitStack would free the context while its thread still computes.
        with self._closing:
            self._resources.close()

    def _tokens(self, item: str | Sequence[int]) -> list[int]:
        if isinstance(item, str):
            return self.model.tokenizer.encode(item, add_special=True, parse_special=True)
        return list(item)

    def _check_pooling(self, needed: str) -> None:
        if self.pooling != needed:
            raise InvalidParameterError(
                "pooling", f'this needs "{needed}", but the engine was made with "{self.pooling}"'
            )


class _LoadedEmbeddingEngine(EmbeddingEngine):
    """An engine that closes its model too."""

    def close(self) -> None:
        super().close()
        self.model.close()


def load_embedding_engine(
    path: str | Path,
    model_params: ModelParams | None = None,
    config: EmbeddingConfig | None = None,
    progress: Callable[[float], bool] | None = None,
) -> EmbeddingEngine:
    """Load a GGUF file and make an embedding engine that also closes the model.

    `progress` gets 0.0 to 1.0 and cancels the load by returning False. Raises ModelLoadError or
    ContextCreateError.
    """
    with ExitStack() as undo:
        model = undo.enter_context(Model(path, model_params, progress))
        engine = _LoadedEmbeddingEngine(model, config)
        undo.pop_all()
    return engine


def normalized(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors of length 1 in the same directions; a zero vector stays zero."""
    # Sums in double, as common_embd_normalize of common/common.cpp.
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def embedding_traits(model: Model) -> EmbeddingTraits:
    """Ask a tiny context what only a context knows (llama_pooling_type, llama_get_causal_attn)."""
    params = ContextParams(n_ctx=256, n_batch=1, n_ubatch=1, embeddings=True)
    with Context(model, params) as probe:
        return EmbeddingTraits(
            n_ctx_train=model.n_ctx_train,
            n_vocab=model.n_vocab,
            pooling=probe.pooling_type,
            is_causal=probe.is_causal,
            is_split=probe.has_memory and probe.is_causal and not model.has_encoder,
        )


def _wait(future: Future[list[NDArray[np.float32]]]) -> list[NDArray[np.float32]]:
    try:
        return future.result()
    finally:
        # Whoever stops waiting (KeyboardInterrupt) wants no answer; after an answer it is nothing.
        future.cancel()
