"""LoraAdapter: owns a LoRA adapter of a loaded model."""

import os
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakMethod

from llamabind._capi import llama
from llamabind._capi.types import AdapterHandle
from llamabind.errors import AdapterError
from llamabind.gguf.adapter_header import check_adapter_header
from llamabind.native.adapter_weights import check_adapter_weights
from llamabind.native.handle import Handle
from llamabind.native.log import native_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from llamabind.native.model import Model

    BeforeClose = Callable[["LoraAdapter"], None]


class LoraAdapter(Handle[AdapterHandle]):
    """A LoRA adapter (llama_adapter_lora of llama.h); Context.set_lora applies it with a scale.

    Load it on the thread that uses the model's contexts. close() removes it from every context
    that applies it, then frees it.
    """

    def __init__(self, model: "Model", path: str | os.PathLike[str]) -> None:
        """Load the file. Raises AdapterError with the reason."""
        self.path = Path(path)
        self.model = model
        # Weak references, so that an adapter does not keep its contexts alive.
        self._before_close: set[WeakMethod[BeforeClose]] = set()
        if model.params.vocab_only or model.params.no_alloc:
            raise AdapterError("the model was loaded without its weights")
        header = check_adapter_header(self.path, model.architecture)
        check_adapter_weights(self.path)
        self.task_name = str(header.metadata.get("adapter.lora.task_name", ""))
        self.prompt_prefix = str(header.metadata.get("adapter.lora.prompt_prefix", ""))
        position = native_log.position()
        handle = llama.llama_adapter_lora_init(model.ptr, os.fsencode(self.path))
        if not handle:
            lines = native_log.lines_since(position)[-2:]
            raise AdapterError(f"{self.path}: {'; '.join(lines) or 'llama.cpp gave no reason'}")
        super().__init__(handle, model)

    def before_close(self, method: "BeforeClose") -> None:
        """Register a bound method to call with this adapter before it is freed, unless the method's
        object is gone by then. A method registered twice is called once.
        """
        self._before_close.add(WeakMethod(method, self._before_close.discard))

    def _free(self, handle: AdapterHandle) -> None:
        for reference in list(self._before_close):
            method = reference()
            if method is not None:
                method(self)
        llama.llama_adapter_lora_free(handle)
