"""LoraAdapter: owns a LoRA adapter of a loaded model."""

import os
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from llamabind._capi import llama
from llamabind._capi.types import AdapterHandle
from llamabind.errors import AdapterError
from llamabind.handle import Handle
from llamabind.log import native_log
from llamabind.lora_file import check_adapter_header

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
        if model.params.vocab_only or model.params.no_alloc:
            raise AdapterError("the model was loaded without its weights")
        header = check_adapter_header(self.path, model.architecture)
        self.task_name = str(header.metadata.get("adapter.lora.task_name", ""))
        self.prompt_prefix = str(header.metadata.get("adapter.lora.prompt_prefix", ""))
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
