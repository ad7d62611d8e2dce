"""EmbeddingEngine: embeddings and rerank scores for many callers at once."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from llamabind.chat.render_limit import check_limit
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
from llamabind.native.lora import LoraAdapter
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

    Any number of threads may call it; their inputs are packed into shared decodes. Texts are
    tokenised with the special tokens that the vocabulary adds, and special tokens spelled out in
    them become special tokens. Closing the model closes the engine first. `context_params`,
    `flash_attn` and `memory` are the effective settings and sizes of its context.
    """

    def __init__(
        self,
        model: Model,
        config: EmbeddingConfig | None = None,
        lora: Sequence[tuple[str | Path, float]] = (),
    ) -> None:
        """`lora` are adapter files with their scales.

        Raises ContextCreateError if the context cannot be made, such as for lack of memory, and
        AdapterError.
        """
        config = config or EmbeddingConfig()
        self.model = model
        self._closing = threading.RLock()
        traits = embedding_traits(model)
        with ExitStack() as undo:
            context = Context(model, config.context_params(traits))
            threads = ComputeThreads(context, config.n_threads, None, n_max=usable_cores())
            undo.callback(threads.close)  # after the context that uses them
            undo.enter_context(context)
            # The model closes its adapters but does not keep them alive, so they are kept here.
            self._adapters = [(LoraAdapter(model, file), scale) for file, scale in lora]
            context.set_lora([(adapter, scale) for adapter, scale in self._adapters if scale])
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
        """The length of a vector; with pooling "rank" the number of scores for an input."""
        return self.model.n_cls_out if self.pooling == "rank" else self.model.n_embd_out

    def tokenize(self, inputs: Sequence[str | Sequence[int | str]]) -> list[list[int]]:
        """Return the token ids of each input: a text, token ids, or a list of both.

        Only a text at the start gets the special tokens that the vocabulary adds.
        """
        with self._close_guard.entered():
            return [self._tokens(item) for item in inputs]

    def truncated(self, inputs: Sequence[list[int]]) -> list[list[int]]:
        """Return the inputs, those that are too long cut off; their last special token is kept."""
        limit = self.shape.n_input_max
        ends = set(self.tokenize([""])[0][-1:])
        return [
            [*tokens[: limit - 1], tokens[-1] if tokens[-1] in ends else tokens[limit - 1]]
            if len(tokens) > limit
            else tokens
            for tokens in inputs
        ]

    def submit(
        self, inputs: Sequence[Sequence[int]], caller: Hashable | None = None
    ) -> Future[list[NDArray[np.float32]]]:
        """Start computing tokenised inputs; the future's result is an array for each, unnormalised.

        The shape is (n_embd,), with pooling "none" (n_tokens, n_embd). Cancelling the future drops
        inputs that are not computed yet. Inputs of different `caller` keys are computed in turn;
        each call with None counts as a different caller. Raises InputTooLongError,
        InvalidParameterError, QueueFullError or EngineStoppedError before anything is queued.
        """
        request = EmbeddingRequest(inputs, caller)
        self._thread.submit(request)
        return request.future

    def embed(
        self, inputs: Sequence[str | Sequence[int]], *, normalize: bool = True
    ) -> NDArray[np.float32]:
        """Return a pooled vector for each input, shape (n, n_embd), in the order of the inputs.

        `normalize` scales every vector to length 1; a zero vector stays zero. Raises what submit()
        raises, and InvalidParameterError with pooling "none" or "rank".
        """
        self.check_embeds()
        return self.stacked(_wait(self.submit(self.tokenize(inputs))), normalize=normalize)

    def embed_tokens(
        self, inputs: Sequence[str | Sequence[int]], *, normalize: bool = False
    ) -> list[NDArray[np.float32]]:
        """Return an array for each input, with a vector for each token: shape (n_tokens, n_embd).

        Needs pooling "none". Raises what submit() raises.
        """
        self._check_pooling("none")
        vectors = _wait(self.submit(self.tokenize(inputs)))
        return [normalized(rows) for rows in vectors] if normalize else vectors

    def score(self, inputs: Sequence[str | Sequence[int]]) -> NDArray[np.float32]:
        """Return the outputs of the model's classifier for each input, shape (n, n_cls_out).

        Needs pooling "rank". Raises what submit() raises.
        """
        self.check_ranks()
        return self.stacked(_wait(self.submit(self.tokenize(inputs))))

    def rerank(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """Return the relevance of each document to the query, shape (n,); higher is better.

        Scores are the model's own, usually logits: use them only to order documents. Needs pooling
        "rank". Raises what submit() raises.
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
        """Return the vectors from submit() as one array, shape (n, n_embd)."""
        stacked = np.stack(vectors) if vectors else np.empty((0, self.n_embd), np.float32)
        return normalized(stacked) if normalize else stacked

    def check_embeds(self) -> None:
        """Raise InvalidParameterError unless pooling gives one vector for each input."""
        if self.pooling in ("none", "rank"):
            instead = "embed_tokens" if self.pooling == "none" else "rerank or score"
            raise InvalidParameterError(
                "pooling", f'"{self.pooling}" gives no single vector for an input: use {instead}'
            )

    def check_ranks(self) -> None:
        """Raise InvalidParameterError unless pooling is "rank"."""
        self._check_pooling("rank")

    def close(self) -> None:
        """End waiting calls with EngineStoppedError and free the context; idempotent."""
        # If two threads closed the ExitStack at once, one could free the context while the engine's
        # thread still computes.
        with self._closing:
            self._resources.close()

    def _tokens(self, item: str | Sequence[int | str]) -> list[int]:
        encode = self.model.tokenizer.encode
        tokens: list[int] = []
        for index, part in enumerate([item] if isinstance(item, str) else item):
            if isinstance(part, str):
                tokens += encode(
                    part, add_special=index == 0, parse_special=True, check=check_limit
                )
            else:
                tokens.append(part)
        return tokens

    def _check_pooling(self, needed: str) -> None:
        if self.pooling != needed:
            raise InvalidParameterError(
                "pooling", f'this call needs "{needed}", but the engine has "{self.pooling}"'
            )


class _LoadedEmbeddingEngine(EmbeddingEngine):
    """An EmbeddingEngine whose close() also closes the model."""

    def close(self) -> None:
        super().close()
        self.model.close()


def load_embedding_engine(
    path: str | Path,
    model_params: ModelParams | None = None,
    config: EmbeddingConfig | None = None,
    progress: Callable[[float], bool] | None = None,
    lora: Sequence[tuple[str | Path, float]] = (),
) -> EmbeddingEngine:
    """Load a GGUF file and make an embedding engine whose close() also closes the model.

    `progress` is called with 0.0 to 1.0 and cancels the load by returning False. `lora` are
    adapter files with their scales. Raises ModelLoadError, ContextCreateError or AdapterError.
    """
    with ExitStack() as undo:
        model = undo.enter_context(Model(path, model_params, progress))
        engine = _LoadedEmbeddingEngine(model, config, lora)
        undo.pop_all()
    return engine


def normalized(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the vectors scaled to length 1; a zero vector stays zero."""
    # Summed in double precision, as in common_embd_normalize of common/common.cpp.
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def embedding_traits(model: Model) -> EmbeddingTraits:
    """Return a model's traits; pooling and causal attention are read from a small context."""
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
        # After KeyboardInterrupt the result is not needed; on a finished future this does nothing.
        future.cancel()
