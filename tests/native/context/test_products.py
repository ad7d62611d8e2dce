"""Our products of quantised weights on CPUs (csrc/panel_products.cpp) against exact ones."""

import ctypes
import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from llamabind._capi import shim
from llamabind.context.batch import Batch
from llamabind.context.context import Context
from llamabind.context.params import ContextParams
from llamabind.errors import ContextCreateError
from llamabind.native.kernels import (
    PRODUCTS_VARIABLE,
    attention_in_use,
    product_variants,
    products_in_use,
)
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from tests.support.quantize import TYPES, WeightType
from tests.support.random_architectures import write_random_architecture

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(
        products_in_use() == "ggml", reason="no kernel of ours for this CPU, or a GPU"
    ),
]

Floats = NDArray[np.float32]

KERNELS = product_variants()[:-1]


@pytest.fixture(params=TYPES.values(), ids=lambda one: one.name)
def weight_type(request: pytest.FixtureRequest) -> WeightType:
    found: WeightType = request.param
    return found


def _multiply(kernel: str, of: WeightType, weights: NDArray[np.uint8], tokens: Floats) -> Floats:
    """A row of products for each token."""
    tokens = np.ascontiguousarray(tokens, np.float32)
    results = np.full((len(tokens), len(weights)), np.nan, np.float32)
    status = shim.lb_multiply(
        kernel.encode(),
        of.ggml_type,
        weights.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)),
        tokens.shape[1],
        len(weights),
        tokens.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
        len(tokens),
        results.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
    )
    assert status == shim.lb_status.LB_OK
    return results


def _as_8_bits(tokens: Floats) -> NDArray[np.float64]:
    """The numbers that the kernels multiply: every 32 are 127 steps of their largest magnitude."""
    blocks = tokens.astype(np.float64).reshape(len(tokens), -1, 32)
    step = np.abs(blocks).max(-1, keepdims=True) / 127
    numbers = np.rint(np.divide(blocks, step, where=step > 0, out=np.zeros_like(blocks)))
    return (numbers * step).reshape(tokens.shape)


def _random(n_rows: int, n: int, seed: int = 1) -> Floats:
    # Not centred: a wrong bias or minimum shows. Columns differ in size, so an exchange shows, too.
    values = np.random.default_rng(seed).standard_normal((n_rows, n)) + 0.3
    return (values * np.linspace(0.5, 2, n)).astype(np.float32)


# Rows and tokens around the sizes of panels (32 and 16), of a group of tokens (6 and 3) and of a
# slice (128).
@pytest.mark.parametrize("n_rows", [1, 15, 33, 64])
@pytest.mark.parametrize("n_tokens", [1, 2, 5, 6, 7, 131])
@pytest.mark.parametrize("kernel", KERNELS)
def test_products_are_those_of_the_stored_numbers(
    weight_type: WeightType, kernel: str, n_rows: int, n_tokens: int
) -> None:
    for n in {
        weight_type.block,
        3 * weight_type.block,
        32 * 11 // weight_type.block * weight_type.block,
    }:
        weights = weight_type.quantize(_random(n_rows, n))
        tokens = _random(n_tokens, n, seed=2)
        found = _multiply(kernel, weight_type, weights, tokens)
        expected = _as_8_bits(tokens) @ weight_type.read(weights).astype(np.float64).T
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * n * np.abs(expected).max())


# The bytes of a block that hold the numbers, not the scales.
_NUMBERS = {"q4_1": slice(4, None), "q5_1": slice(4, None), "q6_K": slice(192)} | {
    name: slice(16, None) for name in ("q4_K", "q5_K")
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_largest_numbers_fit_into_the_sums(weight_type: WeightType, kernel: str) -> None:
    """Sums of 16 bits do not overflow; 0x80 is -128 in Q8_0, which only other programs write."""
    n = 256
    weights = weight_type.quantize(_random(4, n))
    blocks = weights.reshape(4, -1, weight_type.n_bytes)
    for row, number in enumerate((0x00, 0x7F, 0x80, 0xFF)):
        blocks[row, :, _NUMBERS.get(weight_type.name, slice(2, None))] = number
    signs = [[1, 1, 1, 1], [-1, -1, -1, -1], [1, -1, 1, -1], [1, 1, -1, -1], [1, 1, 1, -1]]
    tokens = np.tile(np.array(signs, np.float32), n // 4)
    found = _multiply(kernel, weight_type, weights, tokens)
    expected = _as_8_bits(tokens) @ weight_type.read(weights).astype(np.float64).T
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_products_bits_depend_on_its_own_row_and_token(
    weight_type: WeightType, kernel: str
) -> None:
    n = 768
    weights, tokens = weight_type.quantize(_random(70, n)), _random(40, n, seed=2)
    together = _multiply(kernel, weight_type, weights, tokens)
    for first, end in [(0, 1), (3, 5), (7, 13), (20, 39)]:
        apart = _multiply(kernel, weight_type, weights[first:end], tokens[first:end])
        expected = np.ascontiguousarray(together[first:end, first:end])
        np.testing.assert_array_equal(apart.view(np.uint32), expected.view(np.uint32))


def test_all_kernels_of_this_cpu_give_the_same_bits(weight_type: WeightType) -> None:
    """One with shorter vectors answers as the best does: no answer depends on the kind of CPU."""
    weights, tokens = weight_type.quantize(_random(50, 1024)), _random(9, 1024, seed=2)
    first, *others = (_multiply(kernel, weight_type, weights, tokens) for kernel in KERNELS)
    for other in others:
        np.testing.assert_array_equal(first.view(np.uint32), other.view(np.uint32))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_stays_with_its_token(
    weight_type: WeightType, kernel: str, value: float
) -> None:
    weights, tokens = weight_type.quantize(_random(40, 512)), _random(8, 512, seed=2)
    healthy = _multiply(kernel, weight_type, weights, tokens)
    tokens[3, 100] = value
    found = _multiply(kernel, weight_type, weights, tokens)
    assert not np.isfinite(found[3]).any()
    others = [0, 1, 2, 4, 5, 6, 7]
    np.testing.assert_array_equal(found[others], healthy[others])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [0.0, 1e-44, 1e-30, 1e30])
def test_very_small_and_large_tokens(weight_type: WeightType, kernel: str, size: float) -> None:
    weights = weight_type.quantize(_random(5, 256))
    tokens = (_random(3, 256, seed=2) * np.float32(size)).astype(np.float32)
    found = _multiply(kernel, weight_type, weights, tokens)
    expected = tokens.astype(np.float64) @ weight_type.read(weights).astype(np.float64).T
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.02 * np.abs(expected).max() + 1e-28)


@pytest.mark.parametrize(("ggml_type", "n"), [(8, 33), (8, 0), (12, 32), (1, 32), (10, 256)])
def test_other_types_and_sizes_are_refused(ggml_type: int, n: int) -> None:
    weights, numbers = (ctypes.c_uint8 * 512)(), (ctypes.c_float * 512)()
    status = shim.lb_multiply(None, ggml_type, weights, n, 1, numbers, 1, numbers)
    assert status == shim.lb_status.LB_INVALID


# ---- in a context -----------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["q8_0", "q4_0", "q4_k"])
def model_path(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, vocab_dir: Path
) -> Path:
    path = tmp_path_factory.mktemp("models") / "random.gguf"
    vocab = vocab_dir / "ggml-vocab-llama-spm.gguf"
    return write_random_architecture(path, vocab, "llama", weight_type=request.param)


_TOKENS = random.Random(1).choices(range(1000, 20_000), k=150)


def _logits(path: Path, chunks: list[int], n_threads: int = 1) -> list[Floats]:
    """The logits after each chunk of one sequence."""
    params = ContextParams(n_ctx=256, n_threads=n_threads, n_threads_batch=n_threads)
    found: list[Floats] = []
    start = 0
    with (
        Model(path, ModelParams(use_extra_bufts=False)) as model,
        Context(model, params) as context,
        closing(Batch(context.n_batch)) as batch,
    ):
        for n in chunks:
            batch.clear()
            batch.extend(_TOKENS[start : start + n], start, 0, output_last=True)
            context.decode(batch)
            found.append(context.logits(n - 1).copy())
            start += n
    return found


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda name: monkeypatch.setenv(PRODUCTS_VARIABLE, name)


def test_logits_are_close_to_ggmls(model_path: Path, products: Callable[[str], None]) -> None:
    chunks = [100, 1, 7, 1]
    products("")
    ours = _logits(model_path, chunks)
    products("ggml")
    theirs = _logits(model_path, chunks)
    for mine, other in zip(ours, theirs, strict=True):
        assert np.isfinite(mine).all()
        # A model of random weights amplifies each difference of rounding.
        assert np.sqrt(np.mean((mine - other) ** 2)) < 0.1 * other.std()
    assert not all(map(np.array_equal, ours, theirs)), "ggml computed both"


@pytest.mark.skipif(attention_in_use() == "ggml", reason="ggml's attention depends on the batch")
def test_the_bits_do_not_depend_on_how_a_prompt_is_split(model_path: Path) -> None:
    whole = _logits(model_path, [150])[-1]
    for chunks, n_threads in ([149, 1], 1), ([64, 64, 22], 2), ([1, 2, 3, 4, 140], 1):
        split = _logits(model_path, chunks, n_threads)[-1]
        np.testing.assert_array_equal(split.view(np.uint32), whole.view(np.uint32))


def test_the_best_kernel_is_used_unless_one_is_named(products: Callable[[str], None]) -> None:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    products("")
    sets = {" avx512_vnni ": "avx512vnni", " avx_vnni ": "avxvnni", " avx2 ": "avx2"}
    assert products_in_use() == next(sets[name] for name in sets if name in flags)
    for name in product_variants():
        products(name)
        assert products_in_use() == name


def test_an_unknown_name_is_refused(model_path: Path, products: Callable[[str], None]) -> None:
    products("amx")
    with pytest.raises(ContextCreateError, match=r"'amx'.*has only: .*avx2, ggml"):
        _logits(model_path, [1])
