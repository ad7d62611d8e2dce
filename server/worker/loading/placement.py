"""Where the weights go: the settings of a load that place tensors and devices, as ModelParams."""

from typing import Any, Final

from llamabind.native.model_params import OverrideValue
from server.protocol.load_settings import LoadSettings

# The same tensors as llama-server's --cpu-moe and --n-cpu-ffn (LLM_FFN_EXPS_REGEX and
# LLM_FFN_DENSE_REGEX of common/common.h).
_EXPERTS: Final = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
_DENSE: Final = r"\.ffn_(up|down|gate)\."
_HOST: Final = "CPU"

OVERRIDES: Final = ("override_tensor", "cpu_moe", "n_cpu_moe", "n_cpu_ffn")
"""Settings with which llama.cpp chooses no number of layers: they place tensors already."""


NO_DEVICE: Final = ("none",)
"""The setting `devices` of a load that uses no GPU."""


def placement_params(settings: LoadSettings) -> dict[str, Any]:
    """The fields of ModelParams for devices, buffers and metadata, without those left open."""
    values = {
        "devices": () if settings.devices == NO_DEVICE else settings.devices,
        "tensor_buffers": tensor_buffers(settings) or None,
        # Repacked weights have kernels that depend on the number of tokens.
        "use_extra_bufts": False if settings.deterministic else settings.repack,
        "no_host": settings.no_host,
        "check_tensors": settings.check_tensors,
        "kv_overrides": kv_overrides(settings) or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def tensor_buffers(settings: LoadSettings) -> tuple[tuple[str, str], ...]:
    """(pattern, buffer type) pairs; the first pattern that matches a tensor applies."""
    pairs: list[tuple[str, str]] = []
    for rule in settings.override_tensor or ():
        pattern, _, buffer_type = rule.rpartition("=")
        pairs.append((pattern, buffer_type))
    if settings.cpu_moe:
        pairs.append((_EXPERTS, _HOST))
    for n_layers, tensors in ((settings.n_cpu_moe, _EXPERTS), (settings.n_cpu_ffn, _DENSE)):
        pairs += [(rf"blk\.{layer}{tensors}", _HOST) for layer in range(n_layers or 0)]
    return tuple(pairs)


def kv_overrides(settings: LoadSettings) -> tuple[tuple[str, OverrideValue], ...]:
    """(metadata key, value) pairs that replace the file's metadata."""
    return tuple((settings.override_kv or {}).items())
