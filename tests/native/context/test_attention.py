"""Our attention on CPUs (csrc/attention.cpp) against ggml's, through whole contexts."""

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llamabind.context.batch import Batch
from llamabind.context.context import Context
from llamabind.context.params import ContextParams
from llamabind.errors import ContextCreateError
from llamabind.native.kernels import ATTENTION_VARIABLE, attention_in_use, attention_variants
from llamabind.native.model import Model
from tests.support.random_architectures import write_random_architecture
from tests.support.random_gguf import LlamaShape, write_random_llama

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(
        attention_in_use() == "ggml", reason="no kernel of ours for this CPU, or a GPU"
    ),
]

Logits = list[NDArray[np.float32]]
Chunk = tuple[int, int, int]
"""Sequence id, first position, number of tokens."""

_SHAPES = {
    "head of 16": LlamaShape(),
    "head of 64, three queries a key": LlamaShape(n_embd=576, n_head=9, n_head_kv=3),
    "head of 128, one query a key": LlamaShape(n_embd=256, n_head=2, n_head_kv=2),
    "head of 32, eight queries a key": LlamaShape(n_embd=512, n_head=16, n_head_kv=2),
    "head of 256": LlamaShape(n_embd=512, n_head=2, n_head_kv=1),
}


@pytest.fixture(scope="module", params=_SHAPES)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, vocab_dir: Path
) -> Iterator[Model]:
    path = tmp_path_factory.mktemp("models") / "random.gguf"
    write_random_llama(path, vocab_dir / "ggml-vocab-llama-spm.gguf", _SHAPES[request.param])
    with Model(path) as model:
        yield model


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Logits]:
    """Decode steps of chunks in a new context: the logits after each chunk."""

    def run(model: Model, attention: str, steps: list[list[Chunk]], **values: Any) -> Logits:
        monkeypatch.setenv(ATTENTION_VARIABLE, attention)
        defaults: dict[str, Any] = {
            "n_ctx": 2048,
            "n_seq_max": 4,
            "n_threads": 1,
            "n_threads_batch": 1,
        }
        tokens = random.Random(1)
        found = []
        with (
            Context(model, ContextParams(**(defaults | values))) as context,
            closing(Batch(context.n_batch)) as batch,
        ):
            for step in steps:
                batch.clear()
                ends: list[int] = []
                for seq_id, start, n in step:
                    batch.extend(
                        tokens.choices(range(1000, 20_000), k=n), start, seq_id, output_last=True
                    )
                    ends.append((ends[-1] if ends else -1) + n)
                context.decode(batch)
                found += [context.logits(end).copy() for end in ends]
        return found

    return run


_STEPS: list[list[Chunk]] = [
    [(0, 0, 150)],  # more than one tile, the last not full
    [(1, 0, 90), (2, 0, 33)],  # prompts side by side
    [(0, 150, 1), (1, 90, 1), (2, 33, 1)],
    [(0, 151, 1), (1, 91, 1), (2, 34, 1)],  # the same graph again
    [(0, 152, 1), (1, 92, 1), (2, 35, 1)],
    [(0, 153, 1), (3, 0, 70)],  # a stream and a prompt
    [(3, 70, 1)],  # a token alone
    [(0, 154, 1), (1, 93, 1), (2, 36, 1), (3, 71, 1)],
    [(0, 155, 200)],  # deep in a sequence
]


def _assert_close(ours: Logits, theirs: Logits) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert np.isfinite(mine).all()
        np.testing.assert_allclose(mine, other, atol=0.02 * other.std())


@pytest.mark.parametrize("kv_unified", [True, False], ids=["unified", "split"])
def test_results_match_ggmls(model: Model, run: Callable[..., Logits], kv_unified: bool) -> None:
    n_ctx = 1024 if kv_unified else 2048
    ours = run(model, "", _STEPS, kv_unified=kv_unified, n_ctx=n_ctx)
    theirs = run(model, "ggml", _STEPS, kv_unified=kv_unified, n_ctx=n_ctx)
    _assert_close(ours, theirs)
    # ggml sums values up in half precision where there are few tokens: equal bits would be its own.
    assert not np.array_equal(ours[3], theirs[3])


@pytest.mark.parametrize("kv_unified", [True, False], ids=["unified", "split"])
def test_all_kernels_of_this_cpu_give_the_same_bits(
    model: Model, run: Callable[..., Logits], kv_unified: bool
) -> None:
    """One with shorter vectors answers as the best does: no answer depends on the kind of CPU."""
    *kernels, _ = attention_variants()
    # A single kernel is compared with itself: it must not depend on which thread takes what.
    names, n_threads = (kernels, 1) if len(kernels) > 1 else (kernels * 2, 2)
    values = {"n_ctx": 1024 if kv_unified else 2048, "kv_unified": kv_unified}
    threads = {"n_threads": n_threads, "n_threads_batch": n_threads}
    runs = [run(model, name, _STEPS, **values, **threads) for name in names]
    for others in runs[1:]:
        for mine, other in zip(runs[0], others, strict=True):
            np.testing.assert_array_equal(mine.view(np.uint32), other.view(np.uint32))


def test_the_best_kernel_is_used_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    has_avx512 = all(f" avx512{part} " in flags for part in ("f", "bw", "dq", "vl"))
    monkeypatch.setenv(ATTENTION_VARIABLE, "")
    assert attention_in_use() == ("avx512" if has_avx512 else "avx2")
    for name in attention_variants():
        monkeypatch.setenv(ATTENTION_VARIABLE, name)
        assert attention_in_use() == name


def test_an_unknown_name_is_refused(random_llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ATTENTION_VARIABLE, "neon")
    with pytest.raises(ContextCreateError, match=r"'neon'.*has only: .*avx2, ggml"):
        Context(random_llama, ContextParams(n_ctx=256))


def test_any_number_of_threads_shares_the_work(model: Model, run: Callable[..., Logits]) -> None:
    # One step of each kind: threads that wait for each other take a core each.
    steps = [*_STEPS[:3], [(0, 151, 1), (3, 0, 70)], [(3, 70, 1)]]
    one, three = (run(model, "", steps, n_threads=n, n_threads_batch=n) for n in (1, 3))
    _assert_close(one, three)


@pytest.mark.parametrize(
    "values",
    [{"type_k": "bf16", "type_v": "bf16"}, {"flash_attn": "off"}],
    ids=["another cache type", "no flash attention"],
)
def test_what_it_does_not_know_is_left_to_ggml(
    random_llama: Model, run: Callable[..., Logits], values: dict[str, str]
) -> None:
    ours, theirs = (run(random_llama, which, _STEPS, **values) for which in ("", "ggml"))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("name", ["gemma3", "lfm2", "qwen3"])
def test_windows_and_other_layers_beside_it(
    tmp_path: Path, vocab_dir: Path, run: Callable[..., Logits], name: str
) -> None:
    path = write_random_architecture(
        tmp_path / "random.gguf", vocab_dir / "ggml-vocab-llama-spm.gguf", name
    )
    with Model(path) as model:
        ours, theirs = (run(model, which, _STEPS) for which in ("", "ggml"))
    _assert_close(ours, theirs)


def test_what_a_token_does_not_see_may_be_infinite(
    random_llama: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An infinity of one sequence does not change others that share its cells or tiles."""
    monkeypatch.setenv(ATTENTION_VARIABLE, "")
    tokens = random.Random(1).choices(range(1000, 20_000), k=60)
    n_spoilt = 20 * LlamaShape().n_embd_kv

    def logits_beside(
        value: float, n_behind: int = 0
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        params = ContextParams(n_ctx=512, n_seq_max=2, n_threads=1, n_threads_batch=1)
        with Context(random_llama, params) as context, closing(Batch(128)) as batch:
            batch.extend(tokens[:20], 0, 1, output_last=True)
            context.decode(batch)
            state = context.state_seq_save(1)
            # A sequence's state ends with the last layer's values of all its tokens; the keys of
            # both layers are before those of both.
            data = state.data.copy()
            end = data.size - n_behind
            data[end - 2 * n_spoilt : end] = np.full(n_spoilt, value, np.float16).view(np.uint8)
            context.state_seq_load(1, replace(state, data=data))
            batch.clear()
            batch.extend(tokens, 0, 0, output_last=True)
            batch.extend(tokens[:2], 20, 1, output_last=True)
            context.decode(batch)
            return context.logits(59).copy(), context.logits(61).copy()

    # Of each layer a type, the size of a row, and the rows.
    n_values = LlamaShape().n_layer * (4 + 8 + 2 * n_spoilt)
    for n_behind in (0, n_values):
        usual, _ = logits_beside(0.5, n_behind)
        for value in (np.inf, np.nan):
            beside, spoilt = logits_beside(value, n_behind)
            np.testing.assert_allclose(beside, usual, atol=0.01)
            assert not np.isfinite(spoilt).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [({}, True), ({"kv_unified": False}, True), ({"flash_attn": "off"}, False)],
    ids=["unified cache", "split cache", "no flash attention"],
)
def test_a_context_says_whether_our_kernel_computed_all_its_attention(
    model: Model, values: dict[str, Any], expected: bool
):
    defaults: dict[str, Any] = {"flash_attn": "on", "n_threads": 1, "n_threads_batch": 1}
    params = ContextParams(n_ctx=256, n_seq_max=2, **(defaults | values))
    with closing(Context(model, params)) as context, closing(Batch(4)) as batch:
        assert not context.has_our_attention  # nothing was decoded
        batch.extend([1, 2, 3], 0, 0, output_last=True)
        context.decode(batch)
        assert context.has_our_attention is expected
