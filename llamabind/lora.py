"""LoraAdapter: owns a LoRA adapter of a loaded model."""

import os
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from llamabind._capi import llama
from llamabind._capi.types import AdapterHandle
from llamabind.errors import AdapterError, GgufError
from llamabind.gguf_header import GgufHeader, read_gguf_header
from llamabind.handle import Handle
from llamabind.log import native_log

if TYPE_CHECKING:
    from llamabind.context import Context
    from llamabind.model import Model


class LoraAdapter(Handle[AdapterHandle]):
    """A LoRA adapter (llama_adapter_lora of llama.h); Context.set_lora applies it with a scale.

    Loaded on the thread that uses the model's contexts. Closing it takes it off every context
    first.
    """

    def __init__(self, model: "Model", path: str | os.PathLike[str]) -> None:
        """Load the file. AdapterError says what is wrong with it."""
        self.path = Path(path)
        self.model = model
        self._contexts: WeakSet[Context] = WeakSet()
        _check_file(model, self.path)
        position = native_log.position()
        handle = llama.llama_adapter_lora_init(model.ptr, os.fsencode(self.path))
        if not handle:
            lines = native_log.lines_since(position)[-2:]
            raise AdapterError(f"{self.path}: {'; '.join(lines) or 'llama.cpp gave no reason'}")
        super().__init__(handle, model)

    def used_by(self, context: "Context") -> None:
        """Remember a context that this adapter must be taken off from before it is freed."""
        self._contexts.add(context)

    def _free(self, handle: AdapterHandle) -> None:
        for context in list(self._contexts):
            if not context.is_closed:
                context.drop_lora(self)
        llama.llama_adapter_lora_free(handle)


def _check_file(model: "Model", path: Path) -> None:
    """Find what llama_adapter_lora_init would end the process for: keys of an unexpected type."""
    if model.params.vocab_only or model.params.no_alloc:
        raise AdapterError("the model was loaded without its weights")
    if not path.is_file():
        raise AdapterError(f"{path} is not a file")
    try:
        header = read_gguf_header(path)
    except GgufError as error:
        raise AdapterError(f"{path}: {error}") from None
    _check_text(header, path, "general.type", "adapter")
    _check_text(header, path, "adapter.type", "lora")
    _check_text(header, path, "general.architecture", model.architecture)
    if not isinstance(header.metadata.get("adapter.lora.alpha", 0.0), float):
        raise AdapterError(f"{path}: adapter.lora.alpha is not a 32-bit float")


def _check_text(header: GgufHeader, path: Path, key: str, expected: str) -> None:
    value = header.metadata.get(key)
    if value != expected:
        raise AdapterError(f"{path}: {key} is {value!r}, expected {expected!r}")
