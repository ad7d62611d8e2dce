"""ModelParams: how a model file is loaded; pure Python."""

from dataclasses import dataclass, replace
from typing import Final

from llamabind.checks import (
    FLOAT32_MAX,
    INT32_MAX,
    check_bool,
    check_choice,
    check_float,
    check_int,
    check_text,
)
from llamabind.errors import InvalidParameterError

SPLIT_MODES: Final = ("none", "layer", "row", "tensor")
LOAD_MODES: Final = ("auto", "none", "mmap", "mlock", "mmap+mlock", "dio")

# char key[128] and char val_str[128] of struct llama_model_kv_override, with their NUL.
_MAX_OVERRIDE_BYTES: Final = 127
_MAX_DEVICES: Final = 16
# llama_max_tensor_buft_overrides() is 4096, which includes the entry that ends the list.
_MAX_TENSOR_BUFFERS: Final = 4095
_BOOLEANS: Final = ("vocab_only", "check_tensors", "no_host", "no_alloc", "load_mtp")

OverrideValue = bool | int | float | str


@dataclass(frozen=True, slots=True)
class ModelParams:
    """How a model file is loaded (struct llama_model_params of llama.h).

    `n_gpu_layers` None offloads as many layers as possible; `devices` None uses all devices, else
    names of llamabind.native.backend.devices(). `load_mode` has llama-server's values.
    `kv_overrides` are (metadata key, value) pairs that replace the file's metadata.
    `tensor_buffers` are (regular expression, buffer type) pairs: tensors with a matching name go
    to that buffer type, such as "CPU" or "CUDA0" (llama-server's --override-tensor).
    `use_extra_bufts` False keeps weights in the file's layout; None repacks them for the CPU unless
    that gives wrong results with this model; True repacks them even then, with a warning.
    `load_mtp` loads the layers of the model's draft heads too (llamabind.gguf.draft_heads).
    """

    n_gpu_layers: int | None = None
    split_mode: str = "layer"
    main_gpu: int = 0
    tensor_split: tuple[float, ...] = ()
    devices: tuple[str, ...] | None = None
    load_mode: str = "auto"
    vocab_only: bool = False
    check_tensors: bool = False
    kv_overrides: tuple[tuple[str, OverrideValue], ...] = ()
    tensor_buffers: tuple[tuple[str, str], ...] = ()
    use_extra_bufts: bool | None = None
    no_host: bool = False
    no_alloc: bool = False
    load_mtp: bool = False

    def __post_init__(self) -> None:
        if self.n_gpu_layers is not None:
            check_int("n_gpu_layers", self.n_gpu_layers, -1, INT32_MAX)
        check_choice("split_mode", self.split_mode, SPLIT_MODES)
        check_choice("load_mode", self.load_mode, LOAD_MODES)
        check_int("main_gpu", self.main_gpu, -1, _MAX_DEVICES - 1)
        for name in _BOOLEANS:
            check_bool(name, getattr(self, name))
        if self.use_extra_bufts is not None:
            check_bool("use_extra_bufts", self.use_extra_bufts)
        self._check_devices()
        self._check_overrides()

    def unpacked(self) -> "ModelParams":
        """Return these parameters with weights in the file's layout.

        Raises InvalidParameterError if they ask for repacked weights.
        """
        if self.use_extra_bufts:
            raise InvalidParameterError(
                "use_extra_bufts",
                "True contradicts deterministic, which needs weights as in the file",
            )
        return replace(self, use_extra_bufts=False)

    def _check_devices(self) -> None:
        if len(self.tensor_split) > _MAX_DEVICES:
            raise InvalidParameterError(
                "tensor_split", f"at most {_MAX_DEVICES} shares, but got {len(self.tensor_split)}"
            )
        for share in self.tensor_split:
            check_float("tensor_split", share, 0.0, FLOAT32_MAX)
        for device in self.devices or ():
            check_text("devices", device)
        if len(self.tensor_buffers) > _MAX_TENSOR_BUFFERS:
            raise InvalidParameterError("tensor_buffers", f"at most {_MAX_TENSOR_BUFFERS} pairs")
        for pattern, buffer_type in self.tensor_buffers:
            check_text("tensor_buffers", pattern)
            check_text("tensor_buffers", buffer_type)

    def _check_overrides(self) -> None:
        for key, value in self.kv_overrides:
            _check_short_text(key)
            if isinstance(value, str):
                _check_short_text(value)
            elif isinstance(value, float):
                check_float("kv_overrides", value)
            else:
                check_int("kv_overrides", int(value), -(2**63), 2**63 - 1)


def _check_short_text(text: object) -> None:
    check_text("kv_overrides", text)
    if len(str(text).encode()) > _MAX_OVERRIDE_BYTES:
        raise InvalidParameterError(
            "kv_overrides", f"at most {_MAX_OVERRIDE_BYTES} bytes of UTF-8, but got {text!r}"
        )
