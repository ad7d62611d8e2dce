"""EmbeddingConfig: the settings of an embedding engine, and its sizes for a model; pure Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from llamabind.checks import INT32_MAX, check_bool, check_choice, check_int
from llamabind.context.params import (
    FLASH_ATTN_MODES,
    KV_CACHE_TYPES,
    MAX_SEQUENCES,
    POOLING_TYPES,
    ContextParams,
)
from llamabind.context.rope_config import RopeConfig
from llamabind.engine.config import DEFAULT_MAX_CTX
from llamabind.system.cpus import MAX_THREADS, usable_cores

# llama.cpp's own default of n_ubatch.
_SMALL_UBATCH: Final = 512
# llama_context::output_reserve allocates n_vocab logits for each token of a batch, used or not: the
# default n_ubatch is chosen so that they take at most 512 MiB.
_OUTPUT_BYTES: Final = 512 * 2**20


@dataclass(frozen=True, slots=True)
class EmbeddingTraits:
    """The properties of a model that its context for embeddings depends on.

    `pooling` is the model's own pooling type, "none" if the file does not name one. With `is_split`
    an input may be computed in several parts: the context has a KV cache and attention is causal.
    """

    n_ctx_train: int
    n_vocab: int
    pooling: str
    is_causal: bool
    is_split: bool


@dataclass(frozen=True, slots=True)
class EmbeddingShape:
    """The effective sizes of an embedding engine.

    One decode computes up to `n_batch` tokens of up to `n_seq_max` inputs. An input may have up to
    `n_input_max` tokens; `limit_name` is the parameter that sets this limit. All inputs of a decode
    share `n_cells` KV cells. With `can_split` an input may be computed over several decodes.
    """

    n_batch: int
    n_seq_max: int
    n_cells: int
    n_input_max: int
    limit_name: str
    n_vocab: int
    can_split: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingConfig:
    """The settings of an embedding engine. Raises InvalidParameterError.

    `n_ctx` in tokens is never more than the training context; None is the training context, at most
    8,192. `n_ubatch` tokens are computed at once; it is also the longest input of an encoder, and
    of any model with pooling "mean" or "cls"; None is 512 if inputs can be split, else the longest
    input (`n_ctx`), or fewer (but at least 512) to keep the output buffer below 512 MiB. A decode
    has at most `n_parallel` inputs. `pooling` "none" gives one vector for each token, "rank" a
    score; None is the model's own, or else "last" for a causal model and "mean" for others. While
    `max_waiting` inputs wait, more are refused with QueueFullError. `n_threads` None tunes the
    number while computing, up to one for each usable core.
    """

    n_ctx: int | None = None
    n_ubatch: int | None = None
    n_parallel: int = 64
    pooling: str | None = None
    max_waiting: int | None = None
    n_threads: int | None = None
    type_k: str = "f16"
    type_v: str = "f16"
    flash_attn: str = "auto"
    offload_kqv: bool = True
    op_offload: bool = True
    deterministic: bool = False
    rope: RopeConfig = RopeConfig()  # noqa: RUF009 - it is immutable

    def __post_init__(self) -> None:
        for name in ("n_ctx", "n_ubatch", "max_waiting"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), 1, INT32_MAX)
        check_int("n_parallel", self.n_parallel, 1, MAX_SEQUENCES)
        if self.pooling is not None:
            check_choice("pooling", self.pooling, POOLING_TYPES)
        if self.n_threads is not None:
            check_int("n_threads", self.n_threads, 1, MAX_THREADS)
        check_choice("type_k", self.type_k, KV_CACHE_TYPES)
        check_choice("type_v", self.type_v, KV_CACHE_TYPES)
        check_choice("flash_attn", self.flash_attn, FLASH_ATTN_MODES)
        check_bool("offload_kqv", self.offload_kqv)
        check_bool("op_offload", self.op_offload)
        check_bool("deterministic", self.deterministic)

    def pooling_for(self, traits: EmbeddingTraits) -> str:
        """Return the effective pooling type: the setting, the model's own, or the default."""
        if self.pooling is not None:
            return self.pooling
        if traits.pooling != "none":
            return traits.pooling
        return "last" if traits.is_causal else "mean"

    def context_params(self, traits: EmbeddingTraits) -> ContextParams:
        """Return the context parameters for a model.

        n_batch equals n_ubatch, so that a decode is one graph: with several graphs the pooled
        vector of an input would be computed from the last one alone (llama_context::decode).
        """
        n_ctx = self._n_ctx(traits)
        n_ubatch = min(self.n_ubatch or self._default_ubatch(traits), n_ctx)
        n_threads = self.n_threads or usable_cores()
        return ContextParams(
            n_ctx=n_ctx,
            n_batch=n_ubatch,
            n_ubatch=n_ubatch,
            n_seq_max=min(self.n_parallel, n_ubatch),
            n_threads=n_threads,
            n_threads_batch=n_threads,
            type_k=self.type_k,
            type_v=self.type_v,
            flash_attn=self.flash_attn,
            offload_kqv=self.offload_kqv,
            op_offload=self.op_offload,
            deterministic=self.deterministic,
            kv_unified=True,
            embeddings=True,
            pooling_type=self.pooling_for(traits),
            rope=self.rope,
        )

    def shape(self, traits: EmbeddingTraits, n_ubatch: int, n_seq_max: int) -> EmbeddingShape:
        """Return the sizes of a context made with context_params(), given its effective ones."""
        n_ctx = self._n_ctx(traits)
        can_split = self._can_split(traits)
        # llama.cpp rounds n_ctx up, but learned positions end at the training context, beyond which
        # ggml_get_rows aborts: so the limit is checked here.
        is_whole = not can_split and n_ubatch < n_ctx
        return EmbeddingShape(
            n_batch=min(n_ubatch, n_ctx),
            n_seq_max=n_seq_max,
            n_cells=n_ctx,
            n_input_max=n_ubatch if is_whole else n_ctx,
            limit_name="n_ubatch" if is_whole else "n_ctx",
            n_vocab=traits.n_vocab,
            can_split=can_split,
        )

    def _n_ctx(self, traits: EmbeddingTraits) -> int:
        return min(self.n_ctx or DEFAULT_MAX_CTX, traits.n_ctx_train)

    def _can_split(self, traits: EmbeddingTraits) -> bool:
        """True if the vector of an input's last part is the vector of the whole input.

        With pooling "rank" a causal model reads the last token (llm_graph_input_cls).
        """
        return traits.is_split and self.pooling_for(traits) in ("last", "rank", "none")

    def _default_ubatch(self, traits: EmbeddingTraits) -> int:
        if self._can_split(traits):
            return _SMALL_UBATCH
        affordable = _OUTPUT_BYTES // (4 * traits.n_vocab)
        return max(_SMALL_UBATCH, min(self._n_ctx(traits), affordable))
