"""EngineConfig: how many requests share one context, and of what size; pure Python."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil

from llamabind.checks import INT32_MAX, check_bool, check_choice, check_int
from llamabind.context_params import (
    FLASH_ATTN_MODES,
    KV_CACHE_TYPES,
    MAX_SEQUENCES,
    MAX_THREADS,
    ContextParams,
)

DEFAULT_MAX_CTX = 8192
"""The largest pool that is taken unasked: a 128k context would fill a laptop with KV cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """The shape of an engine. Raises InvalidParameterError.

    `n_ctx` is the pool of KV cells all requests share and the most one request may use; None takes
    the model's training context, at most 8,192. `n_parallel` requests run at once, the others wait.
    With `kv_unified` off each of them has its n_parallel-th part of `n_ctx` for itself: faster
    where prompts have little in common, but one request cannot use the whole. `n_batch` tokens are
    computed per step at most, `n_ubatch` per graph. Threads None tunes their number while serving,
    up to one per physical core this process may use. More than `max_waiting` are refused.
    """

    n_ctx: int | None = None
    n_batch: int = 2048
    n_ubatch: int = 512
    n_parallel: int = 16
    n_threads: int | None = None
    n_threads_batch: int | None = None
    type_k: str = "f16"
    type_v: str = "f16"
    flash_attn: str = "auto"
    kv_unified: bool = True
    offload_kqv: bool = True
    max_waiting: int | None = None

    def __post_init__(self) -> None:
        if self.n_ctx is not None:
            check_int("n_ctx", self.n_ctx, 1, INT32_MAX)
        check_int("n_batch", self.n_batch, 1, INT32_MAX)
        check_int("n_ubatch", self.n_ubatch, 1, INT32_MAX)
        check_int("n_parallel", self.n_parallel, 1, MAX_SEQUENCES)
        for name in ("n_threads", "n_threads_batch"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), 1, MAX_THREADS)
        check_choice("type_k", self.type_k, KV_CACHE_TYPES)
        check_choice("type_v", self.type_v, KV_CACHE_TYPES)
        check_choice("flash_attn", self.flash_attn, FLASH_ATTN_MODES)
        check_bool("kv_unified", self.kv_unified)
        check_bool("offload_kqv", self.offload_kqv)
        if self.max_waiting is not None:
            check_int("max_waiting", self.max_waiting, 0, INT32_MAX)

    def context_params(self, n_ctx_train: int, *, retains: bool) -> ContextParams:
        """Return the context for a model trained on `n_ctx_train` tokens.

        With `retains` there are as many sequence ids again for prefixes that wait to be reused; in
        streams each would take its part of the context from the others.
        """
        n_ctx = self.n_ctx or min(n_ctx_train, DEFAULT_MAX_CTX)
        # llama.cpp reserves an output per sequence out of n_batch and n_ctx: both bound the ids.
        retains = retains and self.kv_unified
        n_seq_max = self.n_parallel * 2 if retains else self.n_parallel
        n_seq_max = min(n_seq_max, MAX_SEQUENCES, n_ctx, self.n_batch)
        n_threads = self.n_threads or usable_cores()
        return ContextParams(
            n_ctx=n_ctx,
            n_batch=self.n_batch,
            n_ubatch=min(self.n_ubatch, self.n_batch),
            n_seq_max=n_seq_max,
            n_threads=n_threads,
            n_threads_batch=self.n_threads_batch or n_threads,
            type_k=self.type_k,
            type_v=self.type_v,
            flash_attn=self.flash_attn,
            offload_kqv=self.offload_kqv,
            kv_unified=self.kv_unified,
            # A sliding-window cache of full size can be cut at any position, as sharing needs.
            swa_full=True,
        )


def usable_cores() -> int:
    """Return how many physical cores this process may use (its CPU affinity counts)."""
    physical: int = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return min(physical, usable_cpus())


def usable_cpus() -> int:
    """Return how many logical CPUs this process may use, at most MAX_THREADS."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), MAX_THREADS)
    return min(os.cpu_count() or 1, MAX_THREADS)
