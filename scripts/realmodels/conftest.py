"""Fixtures: the trained models, and SmolLM2 with other weights."""

import ctypes
from pathlib import Path

import pytest
from llama_source import cache_dir

from llamabind._capi import enums, llama
from realmodels.fetch import GEMMA3, SMOLLM2, real_model

_FTYPES = {
    "Q8_0": enums.llama_ftype.LLAMA_FTYPE_MOSTLY_Q8_0,
    "F32": enums.llama_ftype.LLAMA_FTYPE_ALL_F32,
}


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct, Q4_1."""
    return real_model(SMOLLM2)


@pytest.fixture(scope="session")
def gemma3() -> Path:
    """Gemma 3 270M, Q4_K_M."""
    return real_model(GEMMA3)


@pytest.fixture(scope="session")
def smollm2_q8_0(smollm2: Path) -> Path:
    """SmolLM2 in Q8_0, made from Q4_1 once: the same weights, but other kernels multiply them."""
    return _made(smollm2, "Q8_0")


@pytest.fixture(scope="session")
def smollm2_f32(smollm2: Path) -> Path:
    """SmolLM2 in F32, made from Q4_1 once: products without rounding to integers."""
    return _made(smollm2, "F32")


def _made(source: Path, name: str) -> Path:
    path = cache_dir() / "models" / f"SmolLM2-135M-Instruct.{name}-from-Q4_1.gguf"
    if not path.exists():
        params = llama.llama_model_quantize_default_params()
        params.ftype = _FTYPES[name]
        params.allow_requantize = True
        part = path.with_suffix(".part")
        code = llama.llama_model_quantize(bytes(source), bytes(part), ctypes.byref(params))
        assert code == 0
        part.replace(path)
    return path
