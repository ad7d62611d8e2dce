"""Matrices in ggml's weight types, rounded to nearest; a real quantiser would be more exact."""

import numpy as np
from gguf_writer import Q4_0_BLOCK, Q4_K_BLOCK, Q8_0_BLOCK


def in_type(tensor: np.ndarray, weight_type: str) -> np.ndarray:
    """`tensor` as that type if it is float16 and its rows are whole blocks; else itself."""
    encode, block = _TYPES[weight_type]
    if tensor.dtype != np.float16 or tensor.shape[-1] % block:
        return tensor
    return encode(tensor.astype(np.float32).reshape(*tensor.shape[:-1], -1, block))


def _f16(blocks: np.ndarray) -> np.ndarray:
    return blocks[..., 0].astype(np.float16)


def _f32(blocks: np.ndarray) -> np.ndarray:
    return blocks[..., 0]


def _q8_0(blocks: np.ndarray) -> np.ndarray:
    step = np.abs(blocks).max(-1) / 127 + 1e-8
    stored = np.empty(step.shape, Q8_0_BLOCK)
    stored["scale"] = step
    stored["quants"] = np.rint(blocks / step[..., None])
    return stored


def _q4_0(blocks: np.ndarray) -> np.ndarray:
    step = np.abs(blocks).max(-1) / 7 + 1e-8
    levels = (np.rint(blocks / step[..., None]) + 8).astype(np.uint8)
    stored = np.empty(step.shape, Q4_0_BLOCK)
    stored["scale"] = step
    stored["quants"] = levels[..., :16] | levels[..., 16:] << 4
    return stored


def _q4_k(blocks: np.ndarray) -> np.ndarray:
    """Eight groups of 32, each with a scale and a minimum of 6 bits."""
    groups = blocks.reshape(*blocks.shape[:-1], 8, 32)
    least = np.minimum(groups.min(-1), 0)
    spread = groups.max(-1) - least
    scale = spread.max(-1) / 15 / 63 + 1e-8
    minimum = -least.min(-1) / 63 + 1e-8
    scales = np.ceil(spread / 15 / scale[..., None]).clip(1, 63).astype(np.uint8)
    minima = np.rint(-least / minimum[..., None]).clip(0, 63).astype(np.uint8)
    steps = (scale[..., None] * scales)[..., None]
    offsets = (minimum[..., None] * minima)[..., None]
    levels = np.rint((groups + offsets) / steps).clip(0, 15).astype(np.uint8)
    stored = np.empty(scale.shape, Q4_K_BLOCK)
    stored["scale"], stored["minimum"] = scale, minimum
    # get_scale_min_k4 of ggml-quants.c: the first eight bytes hold two bits of the last four too.
    stored["scales"][..., :4] = scales[..., :4] | (scales[..., 4:] >> 4) << 6
    stored["scales"][..., 4:8] = minima[..., :4] | (minima[..., 4:] >> 4) << 6
    stored["scales"][..., 8:] = scales[..., 4:] & 15 | (minima[..., 4:] & 15) << 4
    pairs = levels.reshape(*scale.shape, 4, 2, 32)
    stored["quants"] = (pairs[..., 0, :] | pairs[..., 1, :] << 4).reshape(*scale.shape, 128)
    return stored


# How a type is encoded, and how many weights a block of it has.
_TYPES = {
    "f16": (_f16, 1),
    "f32": (_f32, 1),
    "q8_0": (_q8_0, 32),
    "q4_0": (_q4_0, 32),
    "q4_k": (_q4_k, 256),
}
WEIGHT_TYPES = tuple(_TYPES)
