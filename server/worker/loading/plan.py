"""LoadPlan: the settings of a load as llamabind's parameters for this machine. Pure Python."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from llamabind import EmbeddingConfig, EngineConfig, ModelParams, RopeConfig
from llamabind.checks import INT32_MAX
from llamabind.errors import GgufError, InvalidParameterError
from llamabind.gguf.header import read_context_length
from server.protocol.load_settings import LoadSettings
from server.protocol.loading import LoadFiles
from server.worker.loading.placement import NO_DEVICE, OVERRIDES, placement_params

_ROPE = tuple(field.name for field in fields(RopeConfig))
_SAME_NAME = ("n_batch", "n_ubatch", "n_parallel", "flash_attn", "kv_unified", "swa_full")
_SPECULATION = (
    "speculative",
    "draft_max",
    "draft_min",
    "draft_p_min",
    "draft_gpu_layers",
    "ngram_size",
)
# The settings that each kind of speculation uses.
_USED_BY = {
    "off": frozenset[str](),
    "ngram": frozenset({"draft_max", "draft_min", "ngram_size"}),
    "draft": frozenset({"draft_max", "draft_min", "draft_p_min", "draft_gpu_layers"}),
    "mtp": frozenset({"draft_max", "draft_min", "draft_p_min"}),
}
_EMBEDDING = (
    "n_ctx",
    "n_ubatch",
    "n_parallel",
    "n_threads",
    "type_k",
    "type_v",
    "flash_attn",
    "offload_kqv",
    "op_offload",
    "deterministic",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """The number of CPUs that this process may use, and of GPUs; whether some of these are devices
    of RPC servers.
    """

    n_cpus: int
    n_gpus: int
    has_remote: bool = False


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """How to load a model; `warnings` name settings that will not apply as requested."""

    model_params: ModelParams
    config: EngineConfig | EmbeddingConfig
    warnings: tuple[str, ...] = ()


def plan_load(
    path: str, settings: LoadSettings, files: LoadFiles, machine: Machine, n_ctx: int | None = None
) -> LoadPlan:
    """Convert settings; `n_ctx` applies if they do not set it.

    Raises InvalidParameterError for a device that does not exist, and for speculative "mtp" with a
    file without draft heads.
    """
    _check_devices(settings, machine)
    n_ctx_train = training_context(path)
    fields = _engine_fields(settings, machine, n_ctx_train, n_ctx)
    if settings.embedding:
        kept = {name: fields[name] for name in _EMBEDDING if name in fields}
        config: EngineConfig | EmbeddingConfig = EmbeddingConfig(
            pooling=settings.pooling, rope=fields["rope"], **kept
        )
    else:
        config = EngineConfig(draft_model=files.draft_model, **fields).with_draft_heads(path)
    kind = config.speculation if isinstance(config, EngineConfig) else "off"
    warnings = (
        *_warnings(settings, machine, n_ctx_train),
        *_speculation_warnings(settings, "draft" if settings.draft_model else kind),
    )
    params = replace(_model_params(settings, machine), load_mtp=kind == "mtp")
    return LoadPlan(params, config, warnings)


def is_placement_open(settings: LoadSettings) -> bool:
    """Whether no setting places the layers, so that as many as fit are put on GPUs.

    With split modes "row" and "tensor" llama.cpp does not distribute by free memory.
    """
    is_set = settings.n_gpu_layers is not None or settings.tensor_split is not None
    is_set |= any(getattr(settings, name) for name in OVERRIDES) or settings.devices == NO_DEVICE
    return not is_set and settings.split_mode in (None, "none", "layer")


def size_warnings(settings: LoadSettings, effective: Mapping[str, Any]) -> Iterator[str]:
    """Warnings for sizes that differ from the requested ones; `effective` may lack some.

    llama.cpp rounds contexts up to 256 tokens, and limits n_parallel and n_batch by the context.
    """
    # For embeddings the sizes follow from the longest input.
    if settings.embedding:
        return
    for name in ("n_ctx", "n_batch", "n_parallel"):
        asked, used = getattr(settings, name), effective.get(name)
        if asked and used is not None and asked != used:
            yield f"{name}: {asked} was requested, {used} is used"


def training_context(path: str) -> int | None:
    """The training context of a file in tokens; None if its header does not name one."""
    try:
        return read_context_length(path)
    except GgufError:
        # llama.cpp reports what is wrong with the file.
        return None


def _model_params(settings: LoadSettings, machine: Machine) -> ModelParams:
    # Without a GPU there is nothing to split, and llama.cpp refuses "tensor".
    split_mode = settings.split_mode if machine.n_gpus else None
    return ModelParams(
        n_gpu_layers=settings.n_gpu_layers,
        split_mode=split_mode or "layer",
        main_gpu=settings.main_gpu or 0,
        tensor_split=settings.tensor_split or (),
        load_mode=settings.weights_mode,
        **placement_params(settings),
    )


def _engine_fields(
    settings: LoadSettings, machine: Machine, n_ctx_train: int | None, n_ctx: int | None
) -> dict[str, Any]:
    """The fields of EngineConfig that differ from its defaults."""
    if settings.n_ctx is not None:
        n_ctx = settings.n_ctx or n_ctx_train
    cache_type = "f32" if settings.f16_kv is False else "f16"
    # A state would cross the network while all sequences wait, and ggml aborts if that fails.
    cache_ram = 0 if machine.has_remote else settings.cache_ram
    fields = {
        "n_ctx": n_ctx,
        "n_threads": _threads(settings.threads, machine),
        "n_threads_batch": _threads(settings.threads_batch, machine),
        "type_k": settings.cache_type_k or cache_type,
        "type_v": settings.cache_type_v or cache_type,
        "cache_ram_mib": INT32_MAX if cache_ram == -1 else cache_ram,
        "rope": RopeConfig(**_given(settings, _ROPE)),
        "offload_kqv": settings.kv_offload,
        "op_offload": settings.op_offload,
        "context_shift": settings.context_shift,
        "deterministic": settings.deterministic,
        **_given(settings, _SAME_NAME),
        **_given(settings, _SPECULATION),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _given(settings: LoadSettings, names: tuple[str, ...]) -> dict[str, Any]:
    values = {name: getattr(settings, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _threads(asked: int | None, machine: Machine) -> int | None:
    """The number of compute threads; None is automatic, as are llama-server's 0 and -1.

    At most the number of CPUs: compute threads wait for each other by spinning, so one too many
    slows down all of them.
    """
    return min(asked, machine.n_cpus) if asked and asked > 0 else None


def _check_devices(settings: LoadSettings, machine: Machine) -> None:
    there_are = f"there are {machine.n_gpus} GPUs" if machine.n_gpus != 1 else "there is one GPU"
    # 0 is the default, so it is accepted without a GPU.
    if settings.main_gpu and settings.main_gpu >= machine.n_gpus:
        raise InvalidParameterError(
            "main_gpu", f"GPU {settings.main_gpu} does not exist: {there_are}"
        )
    shares = settings.tensor_split or ()
    if len(shares) > machine.n_gpus:
        raise InvalidParameterError("tensor_split", f"{len(shares)} shares, but {there_are}")


def _warnings(settings: LoadSettings, machine: Machine, n_ctx_train: int | None) -> Iterator[str]:
    n_cpus = machine.n_cpus
    for name in ("threads", "threads_batch"):
        asked = getattr(settings, name)
        if asked is not None and asked > n_cpus:
            yield f"{name}: {asked} is more than this machine's {n_cpus} CPUs, {n_cpus} are used"
    yield from _device_warnings(settings, machine)
    if settings.deterministic and not _has_our_attention(settings):
        yield (
            "deterministic: attention depends on the batch unless flash_attn is on and the KV "
            "cache is f16"
        )
    n_batch = settings.n_batch or EngineConfig().n_batch
    if not settings.embedding and settings.n_ubatch and settings.n_ubatch > n_batch:
        yield f"n_ubatch: {settings.n_ubatch} is more than n_batch, {n_batch} is used"
    yield from _context_warnings(settings, n_ctx_train)


def _device_warnings(settings: LoadSettings, machine: Machine) -> Iterator[str]:
    if machine.n_gpus == 0:
        for name in ("n_gpu_layers", "main_gpu", "draft_gpu_layers"):
            if getattr(settings, name):
                yield f"{name}: there is no GPU, everything is computed on the CPU"
        if settings.split_mode in ("row", "tensor"):
            yield f'split_mode: there is no GPU, "{settings.split_mode}" has no effect'
    elif settings.deterministic and settings.devices != NO_DEVICE:
        yield "deterministic: has no effect on what GPUs compute"
    if machine.has_remote and not settings.embedding and settings.cache_ram != 0:
        yield "cache_ram: 0 is used: with devices of RPC servers (--rpc) no states are saved"


def _has_our_attention(settings: LoadSettings) -> bool:
    types = (settings.cache_type_k, settings.cache_type_v)
    is_f16 = settings.f16_kv is not False and all(each in (None, "f16") for each in types)
    return is_f16 and settings.flash_attn != "off"


def _speculation_warnings(settings: LoadSettings, kind: str) -> Iterator[str]:
    for name in _given(settings, _SPECULATION[1:]):
        if name not in _USED_BY[kind]:
            yield f"{name}: not used with speculative {kind}"


def _context_warnings(settings: LoadSettings, n_ctx_train: int | None) -> Iterator[str]:
    if not n_ctx_train or not settings.n_ctx or settings.n_ctx <= n_ctx_train:
        return
    if settings.embedding:
        yield f"n_ctx: embeddings use at most the {n_ctx_train} tokens the model was trained with"
    elif not _given(settings, _ROPE):
        yield (
            f"n_ctx: {settings.n_ctx} is more than the {n_ctx_train} tokens the model was trained "
            "with; answers get worse beyond that unless positions are scaled (rope_scaling)"
        )
