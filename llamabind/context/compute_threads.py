"""ComputeThreads: the CPU threads of one context, with a count tuned while it serves."""

from __future__ import annotations

import ctypes
import os
import time
from typing import TYPE_CHECKING

from llamabind._capi import ggml, llama
from llamabind.context.spread_threads import spread_threads
from llamabind.context.thread_tuner import ThreadTuner

if TYPE_CHECKING:
    from collections.abc import Callable

    from llamabind._capi.types import ThreadpoolHandle
    from llamabind.context.context import Context

_FEW_COUNTS = 4
"""Up to 4 cores have up to 4 thread counts. ThreadTuner tries these within the first steps, so they
are not timed before.
"""


class ComputeThreads:
    """Sets the thread count of each step: the configured one, or the one that ThreadTuner chooses.

    Without an attached pool llama.cpp starts and ends its threads with every graph, and the idle
    threads of a larger pool would spin, so there is one pool for each count in use. Used only on
    the engine thread; closed after the context. Contexts that never compute at the same time share
    the pools of an `owner`, which is closed last: separate pools would spin while they wait.
    """

    def __init__(
        self,
        context: Context,
        n_threads: int | None,
        n_threads_batch: int | None,
        n_max: int,
        owner: ComputeThreads | None = None,
    ) -> None:
        """`n_threads` and `n_threads_batch` are fixed counts, for decodes of one token and of more;
        `n_threads_batch` None takes `n_threads`. A count that is None is tuned: 1 to `n_max`, which
        callers take from usable_cores().
        """
        self._context = context
        self._n_threads = n_threads
        self._n_threads_batch = n_threads_batch or n_threads
        self._tuner = ThreadTuner(n_max)
        self._pools: dict[int, ThreadpoolHandle] = {} if owner is None else owner._pools
        self._is_owner = owner is None
        self._pid = os.getpid()
        self._attached = 0

    def calibrate(self, n_tokens: int, decode: Callable[[], object], seconds: float) -> None:
        """Time `decode`, of `n_tokens`, with each thread count, and begin with the fastest.

        Starts with all cores; tries at least two counts, and no more once `seconds` have passed.
        Does nothing if there are few counts.
        """
        if self._fixed(n_tokens) or len(self._tuner.counts) <= _FEW_COUNTS:
            return
        began = time.perf_counter()
        found: dict[int, float] = {}
        for count in reversed(self._tuner.counts):
            if len(found) >= 2 and time.perf_counter() - began > seconds:
                break
            if count != self._attached:
                self._use(count)
                decode()  # wakes the threads and touches the memory
            started = time.perf_counter()
            decode()
            found[count] = time.perf_counter() - started
        self._tuner.start_with(n_tokens, min(found, key=lambda count: found[count]))

    def prepare(self, n_tokens: int) -> None:
        """Set the thread count for the next decode, of `n_tokens`."""
        self._use(self._fixed(n_tokens) or self._tuner.choose(n_tokens))

    def is_trial(self, n_tokens: int) -> bool:
        """Return whether the decode prepared for tries another count, so it may be slower."""
        return not self._fixed(n_tokens) and self._tuner.is_trial(n_tokens)

    def observe(self, n_tokens: int, seconds: float) -> None:
        """Report how long the decode took that `prepare` was called for."""
        if not self._fixed(n_tokens):
            self._tuner.observe(n_tokens, seconds)

    def close(self) -> None:
        """End the threads."""
        pools, self._pools = self._pools, {}
        if not self._is_owner or self._pid != os.getpid():
            return  # the threads do not exist in a forked process, which would wait forever
        for pool in pools.values():
            ggml.ggml_threadpool_free(pool)

    def _fixed(self, n_tokens: int) -> int | None:
        return self._n_threads if n_tokens == 1 else self._n_threads_batch

    def _use(self, n_threads: int) -> None:
        if n_threads != self._attached:
            pool = self._pool(n_threads)
            llama.llama_attach_threadpool(self._context.ptr, pool, pool)
            self._context.set_n_threads(n_threads, n_threads)
            self._attached = n_threads

    def _pool(self, n_threads: int) -> ThreadpoolHandle:
        pool = self._pools.get(n_threads)
        if pool is None:
            params = ggml.ggml_threadpool_params_default(n_threads)
            with spread_threads(n_threads):
                pool = ggml.ggml_threadpool_new(ctypes.byref(params))
            assert pool, "llama.cpp aborts where a thread pool cannot be made"
            self._pools[n_threads] = pool
        return pool
