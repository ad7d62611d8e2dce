"""EmbeddingRunner: computes batches of embeddings with llama.cpp."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from llamabind.context.batch import Batch
from llamabind.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from llamabind.context.compute_threads import ComputeThreads
    from llamabind.context.context import Context
    from llamabind.embedding.queue import EmbeddingChunk


class EmbeddingRunner:
    """Computes chunks in a context for embeddings. Used on one thread."""

    def __init__(self, context: Context, threads: ComputeThreads) -> None:
        self._context = context
        self._threads = threads
        self._batch = Batch(context.n_batch)
        self._is_pooled = context.pooling_type != "none"
        # With pooling "none": vectors of an input whose later tokens are in the next chunks.
        self._token_rows: list[NDArray[np.float32]] = []

    def run(self, chunks: Sequence[EmbeddingChunk]) -> list[NDArray[np.float32]]:
        """Decode all chunks at once and return one array for each that completes its input.

        The shape is (n_embd_out,), with pooling "rank" (n_cls_out,), with "none" (n_tokens,
        n_embd_out). After a DecodeError the KV cache and all partial results are empty.
        """
        firsts = self._fill_batch(chunks)
        try:
            self._forget_all_but([chunk.seq_id for chunk in chunks if chunk.start > 0])
            self._compute()
        except DecodeError:
            self._context.memory_clear()
            self._token_rows = []
            raise
        return [
            vector
            for chunk, first in zip(chunks, firsts, strict=True)
            if (vector := self._vector(chunk, first)) is not None
        ]

    def close(self) -> None:
        """Free the batch; the caller closes the context."""
        self._batch.close()

    def _fill_batch(self, chunks: Sequence[EmbeddingChunk]) -> list[int]:
        self._batch.clear()
        return [
            self._batch.extend(
                chunk.item.tokens[chunk.start : chunk.end], chunk.start, chunk.seq_id
            )
            for chunk in chunks
        ]

    def _forget_all_but(self, seq_ids: Sequence[int]) -> None:
        if not seq_ids:
            self._token_rows = []
            self._context.memory_clear()
            return
        for seq_id in range(self._context.n_seq_max):
            if seq_id not in seq_ids:
                self._context.memory_seq_rm(seq_id)

    def _compute(self) -> None:
        n_tokens = len(self._batch)
        self._threads.prepare(n_tokens)
        started = time.perf_counter()
        if self._context.model.has_encoder:
            self._context.encode(self._batch)
        else:
            self._context.decode(self._batch)
        self._context.synchronize()
        self._threads.observe(n_tokens, time.perf_counter() - started)

    def _vector(self, chunk: EmbeddingChunk, first: int) -> NDArray[np.float32] | None:
        if self._is_pooled:
            return self._context.embeddings_seq(chunk.seq_id) if chunk.is_last else None
        end = first + chunk.end - chunk.start
        rows = [self._context.embeddings_ith(index) for index in range(first, end)]
        if chunk.start > 0:
            rows = self._token_rows + rows
        if chunk.is_last:
            return np.stack(rows)
        self._token_rows = rows
        return None
