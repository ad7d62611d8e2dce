"""Log-probabilities from libmtmd's helper for images and audio, as a reference for the engine."""

import ctypes

import numpy as np

from llamabind._capi import mtmd
from llamabind._capi.handles import BitmapPtr
from llamabind._capi.mtmd_structs import mtmd_input_text
from llamabind.context.context import Context
from llamabind.context.params import ContextParams
from llamabind.media.projector import Projector
from llamabind.native.model import Model


def logprobs_of_helper(
    model: Model, projector: Projector, before: str, bitmaps: list[BitmapPtr], after: str
) -> np.ndarray:
    """The log-probabilities of what follows a prompt with these media, in a context of its own.

    " or " is between them. The bitmaps are freed.
    """
    marker = mtmd.mtmd_get_marker(projector.ptr)
    text = before.encode() + b" or ".join([marker] * len(bitmaps)) + after.encode()
    chunks = mtmd.mtmd_input_chunks_init()
    code = mtmd.mtmd_tokenize(
        projector.ptr,
        chunks,
        ctypes.byref(mtmd_input_text(text, len(text), True, True)),
        (ctypes.c_void_p * len(bitmaps))(*bitmaps),
        len(bitmaps),
    )
    assert code == 0
    n_ctx = 64 + mtmd.mtmd_helper_get_n_tokens(chunks)
    with Context(model, ContextParams(n_ctx=n_ctx, n_threads=1, n_threads_batch=1)) as context:
        end = ctypes.c_int32()
        code = mtmd.mtmd_helper_eval_chunks(
            projector.ptr, context.ptr, chunks, 0, 0, 512, True, ctypes.byref(end)
        )
        assert code == 0
        context._outputs = b"\1"  # the helper decoded without Context
        logits = context.logits(-1).astype(np.float64)
    for bitmap in bitmaps:
        mtmd.mtmd_bitmap_free(bitmap)
    mtmd.mtmd_input_chunks_free(chunks)
    return logits - np.log(np.exp(logits).sum())
