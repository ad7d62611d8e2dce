"""check_adapter_weights: refuses a LoRA adapter with weights that are NaN or infinite.

One such weight makes the keys and values of every sequence that uses the adapter NaN. Without flash
attention ggml multiplies the cells of other sequences by 0, and 0 times NaN is NaN: then requests
that do not use the adapter lose their answers, too.
"""

import os
from contextlib import ExitStack
from pathlib import Path

from llamabind._capi import ggml
from llamabind._capi.ggml_structs import gguf_init_params
from llamabind.errors import AdapterError
from llamabind.gguf.adapter_header import is_weight

_PIECE_BYTES = 4 << 20


def check_adapter_weights(path: Path) -> None:
    """Read all weights of a file whose header was checked. Raises AdapterError.

    Does nothing if llama.cpp cannot parse the header: loading the adapter reports the reason.
    """
    with ExitStack() as stack:
        context = ggml.gguf_init_from_file(os.fsencode(path), gguf_init_params(no_alloc=True))
        if not context:
            return
        stack.callback(ggml.gguf_free, context)
        start = ggml.gguf_get_data_offset(context)
        try:
            file = stack.enter_context(path.open("rb"))
            for index in range(ggml.gguf_get_n_tensors(context)):
                name = ggml.gguf_get_tensor_name(context, index).decode("utf-8", "replace")
                kind = ggml.gguf_get_tensor_type(context, index)
                block = ggml.ggml_type_size(kind)
                file.seek(start + ggml.gguf_get_tensor_offset(context, index))
                n_left = ggml.gguf_get_tensor_size(context, index) if is_weight(name) else 0
                while n_left > 0:
                    piece = file.read(min(n_left, _PIECE_BYTES // block * block))
                    n_left -= len(piece) or n_left
                    if not ggml.ggml_validate_row_data(kind, piece, len(piece)):
                        raise AdapterError(
                            f"{path}: tensor {name!r} has weights that are NaN or infinite; "
                            "the adapter is damaged, so download or convert it again"
                        )
        except OSError as error:
            raise AdapterError(f"{path} cannot be read: {error.strerror or error}") from error
