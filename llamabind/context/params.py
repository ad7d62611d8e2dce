"""ContextParams: the parameters of a context; pure Python."""

from dataclasses import dataclass
from typing import Final

from llamabind.checks import INT32_MAX, check_bool, check_choice, check_int
from llamabind.context.rope_config import RopeConfig
from llamabind.errors import InvalidParameterError
from llamabind.system.cpus import MAX_THREADS

# What llama-server accepts as --cache-type-k and -v (kv_cache_types of common/arg.cpp).
KV_CACHE_TYPES: Final = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
FLASH_ATTN_MODES: Final = ("auto", "on", "off")
POOLING_TYPES: Final = ("none", "mean", "cls", "last", "rank")
CONTEXT_KINDS: Final = ("default", "mtp")
ATTENTION_TYPES: Final = ("causal", "non_causal")
# LLAMA_MAX_SEQ of llama-cparams.h, llama_max_parallel_sequences() at run time.
MAX_SEQUENCES: Final = 256

_BOOLEANS: Final = (
    "kv_unified",
    "embeddings",
    "swa_full",
    "offload_kqv",
    "op_offload",
    "deterministic",
    "no_perf",
)


@dataclass(frozen=True, slots=True)
class ContextParams:
    """The parameters of a context (struct llama_context_params of llama.h).

    `n_ctx` 0 means the model's training context. With `kv_unified` all sequences share `n_ctx`
    tokens; without it each of the `n_seq_max` sequences has n_ctx / n_seq_max. `n_batch` is the
    most tokens of one decode, `n_ubatch` of one graph. None means llama.cpp's default for
    `n_threads` and `n_threads_batch`, and the model's own `pooling_type` and `attention_type`. With
    `deterministic`, which needs a model loaded with `use_extra_bufts` False, a product on the CPU
    has the same bits whatever the number of tokens in the batch.

    A context of the kind "mtp" computes the model's draft heads (HiddenBatch). `n_rs_seq` recurrent
    states are kept beside the newest one of each sequence, so that as many tokens can be removed.
    At most `n_outputs_max` tokens of a batch have outputs; 0 is `n_batch`.

    On Linux the memory of a KV cache of up to 1 GiB on the CPU is not touched when the context is
    made: a thread touches it from `settle_ms` milliseconds later on; -1 touches it before.
    """

    n_ctx: int = 0
    n_batch: int = 2048
    n_ubatch: int = 512
    n_seq_max: int = 1
    n_rs_seq: int = 0
    n_outputs_max: int = 0
    n_threads: int | None = None
    n_threads_batch: int | None = None
    type_k: str = "f16"
    type_v: str = "f16"
    flash_attn: str = "auto"
    kv_unified: bool = True
    swa_full: bool = False
    embeddings: bool = False
    pooling_type: str | None = None
    attention_type: str | None = None
    rope: RopeConfig = RopeConfig()  # noqa: RUF009 - it is immutable
    offload_kqv: bool = True
    op_offload: bool = True
    deterministic: bool = False
    no_perf: bool = True
    kind: str = "default"
    settle_ms: int = 1000

    def __post_init__(self) -> None:
        check_int("n_ctx", self.n_ctx, 0, INT32_MAX)
        check_int("n_batch", self.n_batch, 1, INT32_MAX)
        check_int("n_ubatch", self.n_ubatch, 1, INT32_MAX)
        check_int("n_seq_max", self.n_seq_max, 1, MAX_SEQUENCES)
        check_int("n_rs_seq", self.n_rs_seq, 0, INT32_MAX)
        check_int("n_outputs_max", self.n_outputs_max, 0, INT32_MAX)
        check_int("settle_ms", self.settle_ms, -1, INT32_MAX)
        for name in _BOOLEANS:
            check_bool(name, getattr(self, name))
        self._check_threads()
        self._check_choices()
        if self.n_seq_max > self.n_batch:
            # llama_context reserves one output per sequence, out of n_batch, or aborts.
            raise InvalidParameterError(
                "n_seq_max", f"must not exceed n_batch ({self.n_batch}), but got {self.n_seq_max}"
            )

    def _check_threads(self) -> None:
        if self.n_threads is not None:
            check_int("n_threads", self.n_threads, 1, MAX_THREADS)
        if self.n_threads_batch is not None:
            check_int("n_threads_batch", self.n_threads_batch, 1, MAX_THREADS)

    def _check_choices(self) -> None:
        check_choice("type_k", self.type_k, KV_CACHE_TYPES)
        check_choice("type_v", self.type_v, KV_CACHE_TYPES)
        check_choice("kind", self.kind, CONTEXT_KINDS)
        check_choice("flash_attn", self.flash_attn, FLASH_ATTN_MODES)
        if self.pooling_type is not None:
            check_choice("pooling_type", self.pooling_type, POOLING_TYPES)
        if self.attention_type is not None:
            check_choice("attention_type", self.attention_type, ATTENTION_TYPES)
