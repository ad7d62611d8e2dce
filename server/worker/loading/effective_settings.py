"""The effective value of every setting of a load, by its name in LoadSettings."""

from typing import TYPE_CHECKING, Any

from llamabind import ContextParams, Engine, EngineConfig
from server.protocol.loading import Load
from server.worker.loading.known_plan import Planned

if TYPE_CHECKING:
    from llamabind import EmbeddingEngine


def effective_settings(
    load: Load, planned: Planned, engine: Engine, *, is_locked: bool
) -> dict[str, Any]:
    """The settings of an Engine. Call before its thread starts: this reads the context."""
    config = planned.plan.config
    assert isinstance(config, EngineConfig), "an Engine is made from an EngineConfig"
    context, shape = engine.context, engine.shape
    template = "request" if load.settings.chat_template else "model"
    return {
        "n_ctx": context.n_ctx,
        "n_ctx_seq": context.n_ctx_seq,
        "n_batch": context.n_batch,
        "n_ubatch": context.n_ubatch,
        "n_parallel": shape.n_parallel,
        "kv_unified": config.kv_unified,
        "layout": "unified" if config.kv_unified else "streams",
        "swa_full": context.params.swa_full,
        "cache_ram": shape.cache_ram_bytes >> 20,
        "threads": context.n_threads,
        "threads_batch": context.n_threads_batch,
        "flash_attn": "on" if context.flash_attn else "off",
        "embedding": False,
        "pooling": None,
        "chat_template": template if engine.chat_template else None,
        "mmproj": load.settings.projector,
        "mmproj_offload": load.settings.mmproj_offload is not False,
        "image_min_tokens": load.settings.image_min_tokens,
        "image_max_tokens": load.settings.image_max_tokens,
        "context_shift": shape.context_shift,
        "kv_offload": context.params.offload_kqv,
        "op_offload": context.params.op_offload,
        "deterministic": context.params.deterministic,
        **_lora(load),
        **_speculation(load, config, is_possible=shape.can_remove(config.max_draft)),
        **_placement(load, planned, is_locked=is_locked),
        **_cache_types(context.params),
        **context.params.rope.changes(),
    }


def effective_embedding_settings(
    load: Load, planned: Planned, engine: "EmbeddingEngine", *, is_locked: bool
) -> dict[str, Any]:
    """The settings of an EmbeddingEngine."""
    params, shape = engine.context_params, engine.shape
    return {
        "n_ctx": shape.n_cells,
        "n_ctx_seq": shape.n_input_max,
        "n_batch": shape.n_batch,
        "n_ubatch": shape.n_batch,
        "n_parallel": shape.n_seq_max,
        "kv_unified": True,
        "layout": "unified",
        "threads": params.n_threads,
        "threads_batch": params.n_threads_batch,
        "flash_attn": "on" if engine.flash_attn else "off",
        "embedding": True,
        "kv_offload": params.offload_kqv,
        "op_offload": params.op_offload,
        "deterministic": params.deterministic,
        "pooling": engine.pooling,
        **_lora(load),
        **_placement(load, planned, is_locked=is_locked),
        **_cache_types(params),
        **params.rope.changes(),
    }


def _placement(load: Load, planned: Planned, *, is_locked: bool) -> dict[str, Any]:
    params, settings = planned.plan.model_params, load.settings
    return {
        "n_gpu_layers": planned.n_gpu_layers,
        "split_mode": params.split_mode,
        "main_gpu": params.main_gpu,
        "tensor_split": params.tensor_split or None,
        "devices": settings.devices,
        "override_tensor": settings.override_tensor,
        "cpu_moe": bool(settings.cpu_moe),
        "n_cpu_moe": settings.n_cpu_moe or 0,
        "n_cpu_ffn": settings.n_cpu_ffn or 0,
        "repack": params.use_extra_bufts is not False,
        "no_host": params.no_host,
        "check_tensors": params.check_tensors,
        "override_kv": settings.override_kv,
        "use_mlock": is_locked,
        "load_mode": params.load_mode,
        "ttl": settings.ttl,
        "pinned": bool(settings.pinned),
    }


def _lora(load: Load) -> dict[str, Any]:
    chosen = load.settings.lora or ()
    return {"lora": [{"file": item.file, "scale": item.factor} for item in chosen]}


def _speculation(load: Load, config: EngineConfig, *, is_possible: bool) -> dict[str, Any]:
    kind = config.speculation if is_possible else "off"
    settings: dict[str, Any] = {"speculative": kind, "draft_model": load.settings.draft_model}
    if kind != "off":
        settings |= {"draft_max": config.max_draft, "draft_min": config.draft_min}
    if kind in ("draft", "mtp"):
        settings["draft_p_min"] = config.draft_p_min
    if kind == "ngram":
        settings["ngram_size"] = config.ngram_size
    return settings


def _cache_types(params: ContextParams) -> dict[str, Any]:
    return {
        "cache_type_k": params.type_k,
        "cache_type_v": params.type_v,
        "f16_kv": params.type_k == params.type_v == "f16",
    }
