"""Checks of a LoRA adapter's file without loading it or its model. Pure Python."""

from collections.abc import Mapping
from pathlib import Path

from llamabind.errors import AdapterError, GgufError
from llamabind.gguf.header import read_gguf_header, read_gguf_shapes
from llamabind.gguf.header_fields import GgufHeader

_A, _B = ".lora_a", ".lora_b"
# llama.cpp skips these tensors, because training often hardly changes them.
_IGNORED = "_norm.weight"
_TRANSPOSED = "token_embd.weight"
_OTHER_BASE = "the adapter seems to be made for another base model"

Shapes = Mapping[str, tuple[int, ...]]


def is_weight(name: str) -> bool:
    """True for the name of a tensor that llama.cpp applies."""
    return name.endswith((_A, _B))


def check_adapter_header(path: Path, architecture: str) -> GgufHeader:
    """Return the header; raise AdapterError if llama_adapter_lora_init would refuse it or abort."""
    if not path.is_file():
        raise AdapterError(f"{path} is not a file")
    try:
        header = read_gguf_header(path)
    except GgufError as error:
        raise AdapterError(f"{path}: {error}") from None
    _check_text(header, path, "general.type", "adapter")
    _check_text(header, path, "adapter.type", "lora")
    _check_text(header, path, "general.architecture", architecture)
    if not isinstance(header.metadata.get("adapter.lora.alpha", 0.0), float):
        raise AdapterError(f"{path}: adapter.lora.alpha is not a 32-bit float")
    return header


def check_adapter_shapes(path: Path, model: Shapes) -> None:
    """Compare shapes with those of `model` as llama_adapter_lora_init does. Raises AdapterError."""
    adapter = read_gguf_shapes(path)
    for name in adapter:
        if name.endswith(_IGNORED):
            continue
        if not is_weight(name):
            raise AdapterError(f"{path}: tensor {name!r} is not part of a LoRA adapter")
        base = name[: -len(_A)]
        if f"{base}{_A}" not in adapter or f"{base}{_B}" not in adapter:
            raise AdapterError(f"{path}: {base!r} has only one of {_A!r} and {_B!r}")
        if base not in model:
            raise AdapterError(f"{path}: the model has no tensor {base!r}; {_OTHER_BASE}")
        _check_pair(path, base, model[base], adapter)


def _check_pair(path: Path, base: str, model: tuple[int, ...], adapter: Shapes) -> None:
    rows, columns = _two(model)
    a, b = _two(adapter[f"{base}{_A}"]), _two(adapter[f"{base}{_B}"])
    if base.endswith(_TRANSPOSED):
        fits = (b[1], a[1]) == (rows, columns)
    else:
        fits = (a[0], b[1]) == (rows, columns) and a[1] == b[0]
    if not fits:
        raise AdapterError(
            f"{path}: {base!r} is {rows}x{columns} in the model, but the adapter's matrices "
            f"are {a[0]}x{a[1]} and {b[0]}x{b[1]}; {_OTHER_BASE}"
        )


def _two(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the first two dimensions; missing ones are 1, as in ggml."""
    first, second, *_ = (*shape, 1, 1)
    return first, second


def _check_text(header: GgufHeader, path: Path, key: str, expected: str) -> None:
    value = header.metadata.get(key)
    if value != expected:
        raise AdapterError(f"{path}: {key} is {value!r}, expected {expected!r}")
