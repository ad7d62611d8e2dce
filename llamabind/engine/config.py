"""EngineConfig: the settings of an engine and its context; pure Python."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llamabind.checks import INT32_MAX, check_bool, check_choice, check_float, check_int
from llamabind.context.params import (
    FLASH_ATTN_MODES,
    KV_CACHE_TYPES,
    MAX_SEQUENCES,
    ContextParams,
)
from llamabind.context.rope_config import RopeConfig
from llamabind.errors import GgufError, InvalidParameterError
from llamabind.gguf.draft_heads import DraftHeads, find_draft_heads
from llamabind.native.load_failure import shards
from llamabind.native.model_params import ModelParams
from llamabind.system.cpus import MAX_THREADS, usable_cores
from llamabind.system.host_memory import host_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llamabind.system.file_fingerprint import FileStamp

SPECULATIVE_KINDS = ("auto", "off", "ngram", "draft", "mtp")

MAX_DRAFT = 64
"""Each draft token needs a row of logits; 64 rows of a large vocabulary are 40 MB."""

DEFAULT_MAX_CTX = 8192
"""The largest default for n_ctx: the KV cache of a 128k context would fill a laptop's memory."""

_MIB = 1 << 20

DEFAULT_MAX_CACHE_RAM_MIB = 8192
"""llama-server's default for cache_ram; if a quarter of the free memory is less, that is used."""


DEFAULT_CACHE_DISK_MIB = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """The settings of an engine. Raises InvalidParameterError.

    `n_ctx` is the number of KV cells that all requests share, and the most that one request may
    use; None is the model's training context, at most 8,192. Up to `n_parallel` requests run at
    once, the others wait. With `kv_unified` False the cache is split: each running request has
    n_ctx / n_parallel cells of its own, which is faster if prompts have little in common, but no
    request can use more than its part. A step computes at most `n_batch` tokens, a graph at most
    `n_ubatch`. A thread count of None is tuned while the engine runs, up to one thread for each
    physical core that this process may use (see usable_cores). While `max_waiting` requests wait,
    more are refused with QueueFullError. None sets no limit: the caller holds the prompts in memory
    anyway, and a program that starts thousands of coroutines wants all of them answered. The server
    sets a limit for its clients (server.config: max_queue).

    Retained prefixes that are evicted from the KV cache are saved in up to `cache_ram_mib` MiB of
    host memory and restored when a prompt begins with them; 0 disables that, None is a quarter of
    the memory that is free now, at most 8,192. With `cache_dir` prefixes are also kept in files of
    that directory for later processes, at most `cache_disk_mib` MiB of them for all models
    (llamabind.disk_cache); only this user can read them. They come back through host memory, so
    `cache_ram_mib` must allow their states. `swa_full` gives sliding-window layers a cache of
    full size, which can be cut at any position; without it the cache is as small as the window, and
    a prefix can be reused only up to a checkpoint. None chooses by size, and the full size for
    speculative decoding.

    With `deterministic` a sequence computed on the CPU has the same logits, bit for bit, whatever
    other sequences run and however its prompt was split into batches. Prompts are slower:
    docs/library.md has numbers.

    `speculative` "ngram" drafts the next tokens from repetitions in the request's own text, "draft"
    with the small model `draft_model`, "mtp" with the heads of the model itself that predict the
    tokens after the next one; answers stay the same. "auto" is "draft" if `draft_model` is set,
    else "mtp" if the file has such heads (with_draft_heads), else "off". A draft
    has at most `draft_max` tokens (None: 48 for n-grams and 3 for the others, llama-server's
    defaults), and fewer if more would slow decoding down. Drafts of fewer than `draft_min` tokens
    are not used, and a draft model or a head ends its draft at a token whose probability is below
    `draft_p_min`. "ngram" drafts only if the last `ngram_size` tokens occurred before.
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
    op_offload: bool = True
    context_shift: bool = False
    deterministic: bool = False
    cache_ram_mib: int | None = None
    cache_dir: str | Path | None = None
    cache_disk_mib: int = DEFAULT_CACHE_DISK_MIB
    swa_full: bool | None = None
    rope: RopeConfig = RopeConfig()  # noqa: RUF009 - it is immutable
    max_waiting: int | None = None
    speculative: str = "auto"
    draft_model: str | Path | None = None
    draft_max: int | None = None
    draft_min: int = 0
    draft_p_min: float = 0.0
    draft_gpu_layers: int | None = None
    ngram_size: int = 4

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
        for name in ("offload_kqv", "op_offload", "context_shift", "deterministic"):
            check_bool(name, getattr(self, name))
        if self.cache_ram_mib is not None:
            check_int("cache_ram_mib", self.cache_ram_mib, 0, INT32_MAX)
        if self.cache_dir is not None and not isinstance(self.cache_dir, (str, Path)):
            raise InvalidParameterError(
                "cache_dir", f"expected the path of a directory, but got {self.cache_dir!r}"
            )
        check_int("cache_disk_mib", self.cache_disk_mib, 1, INT32_MAX)
        if self.swa_full is not None:
            check_bool("swa_full", self.swa_full)
        if self.max_waiting is not None:
            check_int("max_waiting", self.max_waiting, 0, INT32_MAX)
        self._check_speculation()

    @property
    def speculation(self) -> str:
        """The kind of speculative decoding: "off", "ngram", "draft" or "mtp".

        "auto" counts as if the model had no heads; with_draft_heads replaces it if it has some.
        """
        if self.speculative != "auto":
            return self.speculative
        return "off" if self.draft_model is None else "draft"

    def with_draft_heads(self, path: str | Path) -> EngineConfig:
        """Return this configuration with the kind of speculation that "auto" means for a file.

        Raises InvalidParameterError if "mtp" was requested and the file has no heads to draft with.
        """
        if self.speculative == "auto" and self.draft_model is None:
            heads = _find_heads(Path(path))
            is_used = isinstance(heads, DraftHeads) and heads.is_automatic
            return replace(self, speculative="mtp") if is_used else self
        if self.speculative == "mtp":
            heads = _find_heads(Path(path))
            problem = heads if isinstance(heads, str) else heads.problem
            if problem is not None:
                raise InvalidParameterError("speculative", f'"mtp" cannot be used: {problem}')
        return self

    @property
    def max_draft(self) -> int:
        """The effective `draft_max`, in tokens."""
        if self.draft_max is not None:
            return self.draft_max
        return 48 if self.speculation == "ngram" else 3

    @property
    def cache_ram_bytes(self) -> int:
        """The limit of the host cache in bytes; the default depends on the memory free now."""
        mib = self.cache_ram_mib
        if mib is None:
            mib = min(DEFAULT_MAX_CACHE_RAM_MIB, host_memory().free // _MIB // 4)
        return mib * _MIB

    def takes_swa_full(self, n_swa: int, n_ctx_train: int) -> bool:
        """True if the cache of layers with a window of `n_swa` tokens should have the full size.

        A small cache holds a window for each sequence and one n_ubatch (llama-kv-cache-iswa.cpp).
        Its prefixes can only be reused up to a checkpoint, so it is chosen only if it has at most
        half the cells of a full one.
        """
        n_windows = self.n_parallel if self.kv_unified else 1
        n_ctx_seq = self._n_ctx(n_ctx_train) // (1 if self.kv_unified else self.n_parallel)
        if n_swa * n_windows >= n_ctx_seq:
            # llama.cpp would limit the small cache to n_ctx cells, which not all windows fit.
            return True
        if self.swa_full is not None:
            return self.swa_full
        if self.speculation != "off":
            return True  # rejected draft tokens must be removed from the cache
        saves_half = 2 * (n_swa * n_windows + self.n_ubatch) <= n_ctx_seq
        return not saves_half or self.cache_ram_mib == 0

    def context_params(
        self, n_ctx_train: int, *, retains: bool, swa_full: bool = True
    ) -> ContextParams:
        """Return the context parameters for a model trained on `n_ctx_train` tokens.

        With `retains` there are twice as many sequence ids, the second half for retained prefixes.
        A split cache has none of these: each would take cells away from the running requests.
        """
        n_ctx = self._n_ctx(n_ctx_train)
        # llama.cpp needs one output for each sequence, so n_batch and n_ctx limit the number of
        # ids.
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
            op_offload=self.op_offload,
            deterministic=self.deterministic,
            kv_unified=self.kv_unified,
            swa_full=swa_full,
            rope=self.rope,
            # A prefix from a file is written to the cache right after the load.
            settle_ms=1000 if self.cache_dir is None else 0,
        )

    def _n_ctx(self, n_ctx_train: int) -> int:
        return self.n_ctx or min(n_ctx_train, DEFAULT_MAX_CTX)

    def _check_speculation(self) -> None:
        check_choice("speculative", self.speculative, SPECULATIVE_KINDS)
        if self.draft_model is not None and not isinstance(self.draft_model, (str, Path)):
            raise InvalidParameterError(
                "draft_model", f"expected the path of a GGUF file, but got {self.draft_model!r}"
            )
        if self.speculation == "draft" and self.draft_model is None:
            raise InvalidParameterError("draft_model", 'speculative "draft" needs a draft model')
        if self.speculation in ("ngram", "mtp") and self.draft_model is not None:
            raise InvalidParameterError(
                "draft_model", f'cannot be used with speculative "{self.speculation}"'
            )
        if self.draft_max is not None:
            check_int("draft_max", self.draft_max, 1, MAX_DRAFT)
        check_int("draft_min", self.draft_min, 0, self.max_draft)
        check_float("draft_p_min", self.draft_p_min, 0.0, 1.0)
        if self.draft_gpu_layers is not None:
            check_int("draft_gpu_layers", self.draft_gpu_layers, -1, INT32_MAX)
        check_int("ngram_size", self.ngram_size, 1, 1024)


def _find_heads(path: Path) -> DraftHeads | str:
    """Return the draft heads of a model file, or why it has none."""
    try:
        heads = find_draft_heads(shards(path))
    except GgufError as error:
        return str(error)
    if heads is None:
        return "the model has no draft heads"
    if heads.is_alone:
        return "the file has draft heads only; load it as draft_model of the model they serve"
    return heads


@dataclass(frozen=True, slots=True)
class BegunLoad:
    """How to load the model of an engine with `config`; with a `cache_dir`, `files` are the stamps
    of the model's and the adapters' files.
    """

    model_params: ModelParams
    config: EngineConfig
    files: tuple[FileStamp, ...] = ()


def begin_load(
    path: str | Path,
    model_params: ModelParams | None,
    config: EngineConfig | None,
    lora: Sequence[str | Path] = (),
) -> BegunLoad:
    """Return what `make_engine` needs beside the model, which the caller loads after this call.

    `lora` are adapter files. The modules of an engine can be imported while the model is loaded.
    """
    # The HTTP process reads settings with this module, and must not import native modules.
    from llamabind.native.remote_devices import has_remote_devices

    config = (config or EngineConfig()).with_draft_heads(path)
    if has_remote_devices():
        # A state would be read over the network while all sequences wait, and ggml aborts if that
        # fails.
        config = replace(config, cache_ram_mib=0)
    params = model_params or ModelParams()
    if config.deterministic:
        params = params.unpacked()
    params = replace(params, load_mtp=config.speculation == "mtp")
    # Before they are read, so that a file which is replaced meanwhile is noticed.
    return BegunLoad(params, config, _stamps([*shards(Path(path)), *lora], config))


def _stamps(paths: Sequence[str | Path], config: EngineConfig) -> tuple[FileStamp, ...]:
    """The stamps of the files, if prefixes are kept on disk; () if one of them is missing."""
    if config.cache_dir is None:
        return ()
    from llamabind.system.file_fingerprint import FileStamp

    try:
        return tuple(FileStamp.of(path) for path in paths)
    except OSError:
        return ()  # the load names the file
