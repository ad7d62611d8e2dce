"""LoadSettings: the settings of a load, as clients send them and workers apply them."""

import contextlib
import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from llamabind.errors import InvalidParameterError
from server.protocol.load_values import (
    MAX_CONTEXT,
    MAX_DRAFT,
    BatchSize,
    CacheRam,
    CacheType,
    ContextSize,
    Device,
    DraftTokens,
    FilePath,
    Gpu,
    ImageTokens,
    LayerCount,
    Layers,
    LoadMode,
    LoraChoice,
    MetadataKey,
    Parallel,
    Positive,
    Share,
    Template,
    TensorRule,
    Threads,
    Ttl,
    YarnFactor,
)
from server.protocol.sampling_defaults import SamplingDefaults

_NO_FILE = "none"
_TEMPLATE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
# Without flash attention llama.cpp transposes V, which is impossible for quantised types.
_PLAIN_CACHE_TYPES = frozenset({"f32", "f16", "bf16"})
# Settings that the server applies itself; they have no effect on the engine.
_OF_SERVER = ("ttl", "pinned", "sampling")
# Sizes that have no meaning for embeddings: dropped from defaults, refused in requests.
GENERATION_SIZES = (
    "cache_ram",
    "swa_full",
    "kv_unified",
    "n_batch",
    "threads_batch",
    "context_shift",
    "mmproj_offload",
    "image_min_tokens",
    "image_max_tokens",
)
GENERATION_FILES = ("draft_model", "speculative", "mmproj", "chat_template")


class LoadSettings(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The settings of a load. A field that is null or absent has its default, which depends on the
    model and the machine. `f16_kv` sets both cache types. docs/loading.md describes all fields.
    """

    # The OpenAPI description shows the docstring. Making the object raises InvalidParameterError
    # for settings that contradict each other; only `check_complete` finds missing ones, since these
    # settings may be merged over others.

    n_gpu_layers: Layers | None = None
    n_ctx: ContextSize | None = None
    n_batch: BatchSize | None = None
    threads: Threads | None = None
    use_mlock: bool | None = None
    f16_kv: bool | None = None
    load_mode: LoadMode | None = None
    n_parallel: Parallel | None = None
    n_ubatch: BatchSize | None = None
    threads_batch: Threads | None = None
    cache_type_k: CacheType | None = None
    cache_type_v: CacheType | None = None
    flash_attn: Literal["auto", "on", "off"] | None = None
    kv_unified: bool | None = None
    cache_ram: CacheRam | None = None
    swa_full: bool | None = None
    split_mode: Literal["none", "layer", "row", "tensor"] | None = None
    main_gpu: Gpu | None = None
    tensor_split: Annotated[tuple[Share, ...], Meta(min_length=1, max_length=16)] | None = None
    devices: Annotated[tuple[Device, ...], Meta(max_length=16)] | None = None
    override_tensor: Annotated[tuple[TensorRule, ...], Meta(max_length=256)] | None = None
    cpu_moe: bool | None = None
    n_cpu_moe: LayerCount | None = None
    n_cpu_ffn: LayerCount | None = None
    kv_offload: bool | None = None
    op_offload: bool | None = None
    repack: bool | None = None
    no_host: bool | None = None
    check_tensors: bool | None = None
    override_kv: (
        Annotated[dict[MetadataKey, bool | int | float | str], Meta(max_length=64)] | None
    ) = None
    rope_scaling: Literal["none", "linear", "yarn", "longrope"] | None = None
    rope_freq_base: Positive | None = None
    rope_freq_scale: Positive | None = None
    yarn_ext_factor: YarnFactor | None = None
    yarn_attn_factor: YarnFactor | None = None
    yarn_beta_fast: YarnFactor | None = None
    yarn_beta_slow: YarnFactor | None = None
    yarn_orig_ctx: ContextSize | None = None
    lora: Annotated[tuple[LoraChoice, ...], Meta(max_length=16)] | None = None
    speculative: Literal["auto", "off", "ngram", "draft", "mtp"] | None = None
    draft_model: FilePath | None = None
    draft_max: Annotated[int, Meta(ge=1, le=MAX_DRAFT)] | None = None
    draft_min: DraftTokens | None = None
    draft_p_min: Annotated[float, Meta(ge=0, le=1)] | None = None
    draft_gpu_layers: Layers | None = None
    ngram_size: (
        Annotated[int, Meta(ge=1, le=1024, description="length of the n-gram in tokens")] | None
    ) = None
    mmproj: FilePath | None = None
    mmproj_offload: bool | None = None
    image_min_tokens: ImageTokens | None = None
    image_max_tokens: ImageTokens | None = None
    chat_template: Template | None = None
    context_shift: bool | None = None
    deterministic: bool | None = None
    embedding: bool | None = None
    pooling: Literal["none", "mean", "cls", "last", "rank"] | None = None
    ttl: Ttl | None = None
    pinned: bool | None = None
    sampling: SamplingDefaults | None = None

    def __post_init__(self) -> None:
        self._check_cache_types()
        self._check_load_mode()
        self._check_deterministic()
        self._check_devices()
        self._check_template()
        self._check_speculation()
        self._check_embedding()

    def over(self, base: "LoadSettings") -> "LoadSettings":
        """These settings, completed by those of `base`.

        Settings of `base` that contradict these are dropped, since a client cannot be blamed for
        what it did not send. They are tried one by one: every contradiction is between two fields.
        """
        result = self._without_sizes() if base.embedding and self._leaves_embedding_open else self
        if self.cache_type_k or self.cache_type_v:
            base = base._long_form()
        for name, value in msgspec.structs.asdict(base).items():
            if value is not None and getattr(result, name) is None:
                with contextlib.suppress(InvalidParameterError):
                    result = msgspec.structs.replace(result, **{name: value})
        if self.sampling is not None and base.sampling is not None:
            sampling = self.sampling.over(base.sampling)
            result = msgspec.structs.replace(result, sampling=sampling)
        if self.pooling is None and not result.embedding:
            return msgspec.structs.replace(result, pooling=None)
        return result

    def without_generation(self) -> "LoadSettings":
        """These settings without those that have no meaning for embeddings."""
        names = (*GENERATION_FILES, *GENERATION_SIZES)
        return msgspec.structs.replace(self, **dict.fromkeys(names))

    def check_complete(self) -> None:
        """Raise InvalidParameterError if a setting requires another one that is missing."""
        if self.speculative == "draft" and self.draft_model is None:
            raise InvalidParameterError("draft_model", 'required for speculative "draft"')
        if self.pooling is not None and not self.embedding:
            raise InvalidParameterError("pooling", "requires embedding: true")

    @property
    def has_open_context(self) -> bool:
        """Whether the context size is chosen by the memory that is free."""
        return self.n_ctx is None and not self.embedding

    @property
    def projector(self) -> str | None:
        """The file of the projector; None also for "none", which keeps the one beside the model
        from being used.
        """
        return None if self.mmproj == _NO_FILE else self.mmproj

    @property
    def names_files(self) -> bool:
        """Whether the load needs files besides those of the model."""
        return bool(self.lora or self.draft_model or self.projector)

    @property
    def engine(self) -> "LoadSettings":
        """The settings that affect the engine: if they are equal, no reload is needed."""
        return msgspec.structs.replace(self, **dict.fromkeys(_OF_SERVER))

    @property
    def _leaves_embedding_open(self) -> bool:
        """Whether `embedding` may come from a base: nothing here is for generation only."""
        names = ("embedding", *GENERATION_FILES)
        return all(getattr(self, name) is None for name in names)

    def _without_sizes(self) -> "LoadSettings":
        return msgspec.structs.replace(self, **dict.fromkeys(GENERATION_SIZES))

    def _long_form(self) -> "LoadSettings":
        """The same with f16_kv replaced by the two cache types that it stands for."""
        if self.f16_kv is None:
            return self
        meant: CacheType = "f16" if self.f16_kv else "f32"
        return msgspec.structs.replace(self, f16_kv=None, cache_type_k=meant, cache_type_v=meant)

    def _check_cache_types(self) -> None:
        types = {"cache_type_k": self.cache_type_k, "cache_type_v": self.cache_type_v}
        if self.f16_kv is not None:
            meant = "f16" if self.f16_kv else "f32"
            for name, value in types.items():
                if value not in (None, meant):
                    sent = "true" if self.f16_kv else "false"
                    raise InvalidParameterError(
                        name,
                        f"{value} contradicts f16_kv: {sent}, which means {meant}; set only one",
                    )
        if self.flash_attn == "off" and self.cache_type_v not in (None, *_PLAIN_CACHE_TYPES):
            raise InvalidParameterError(
                "cache_type_v", f"{self.cache_type_v} requires flash_attn, which is off"
            )

    def _check_load_mode(self) -> None:
        if self.load_mode in (None, "auto") or self.use_mlock is None:
            return
        if self.use_mlock != (self.load_mode in ("mlock", "mmap+mlock")):
            sent = "true" if self.use_mlock else "false"
            raise InvalidParameterError(
                "use_mlock", f"{sent} contradicts load_mode {self.load_mode}; set only one"
            )

    def _check_deterministic(self) -> None:
        if self.deterministic and self.repack:
            raise InvalidParameterError(
                "repack", "true contradicts deterministic, which needs weights as in the file"
            )

    @property
    def weights_mode(self) -> LoadMode:
        """How the weights are read into memory."""
        if self.load_mode in (None, "auto"):
            return "mmap+mlock" if self.use_mlock else "auto"
        return self.load_mode

    @property
    def locks(self) -> bool:
        """Whether the weights are locked in memory."""
        return self.weights_mode in ("mlock", "mmap+mlock")

    def _check_devices(self) -> None:
        if self.tensor_split is not None:
            if not any(self.tensor_split):
                raise InvalidParameterError("tensor_split", "at least one share must be above 0")
            if self.split_mode == "none":
                raise InvalidParameterError(
                    "tensor_split", 'split_mode "none" puts everything on main_gpu'
                )
        for index, rule in enumerate(self.override_tensor or ()):
            self._check_tensor_rule(f"override_tensor[{index}]", rule)
        if (self.image_min_tokens or 0) > (self.image_max_tokens or MAX_CONTEXT):
            raise InvalidParameterError(
                "image_min_tokens",
                f"{self.image_min_tokens} is more than image_max_tokens {self.image_max_tokens}",
            )
        if self.split_mode == "tensor" and self.flash_attn == "off":
            raise InvalidParameterError("split_mode", '"tensor" requires flash_attn, which is off')

    def _check_tensor_rule(self, field: str, rule: str) -> None:
        pattern, _, buffer_type = rule.rpartition("=")
        if not pattern or not buffer_type:
            raise InvalidParameterError(field, f"{rule!r} is not of the form ffn_.*_exps=CPU")
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise InvalidParameterError(
                field, f"{pattern!r} is not a regular expression: {error}"
            ) from None

    def _check_template(self) -> None:
        text = self.chat_template
        if text is None:
            return
        if "\0" in text:
            raise InvalidParameterError("chat_template", "a NUL character is not allowed")
        # Text without Jinja tags would be a template that ignores the conversation. The worker
        # knows which names llama.cpp has.
        if "{{" not in text and "{%" not in text and not _TEMPLATE_NAME.fullmatch(text):
            raise InvalidParameterError(
                "chat_template",
                "expected Jinja source, or the name of a built-in template such as chatml",
            )

    def _check_speculation(self) -> None:
        if self.speculative in ("off", "ngram", "mtp") and self.draft_model is not None:
            raise InvalidParameterError(
                "draft_model", f'cannot be used with speculative "{self.speculative}"'
            )
        if (self.draft_min or 0) > (MAX_DRAFT if self.draft_max is None else self.draft_max):
            raise InvalidParameterError(
                "draft_min", f"{self.draft_min} is more than draft_max {self.draft_max}"
            )

    def _check_embedding(self) -> None:
        if self.embedding is False and self.pooling is not None:
            raise InvalidParameterError("pooling", "requires embedding: true")
        if not self.embedding:
            return
        for name in (*GENERATION_FILES, *GENERATION_SIZES):
            if getattr(self, name) not in (None, _NO_FILE):
                raise InvalidParameterError(name, "cannot be used with embedding: true")
