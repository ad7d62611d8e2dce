"""The bits of a sequence's logits depend neither on the place of its cells nor on its company."""

import random
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llamabind.context.batch import Batch
from llamabind.context.context import Context
from llamabind.context.params import ContextParams
from llamabind.errors import ContextCreateError
from llamabind.native.kernels import attention_in_use
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from tests.support.random_architectures import write_random_architecture

pytestmark = pytest.mark.native

needs_our_attention = pytest.mark.skipif(
    attention_in_use() == "ggml", reason="no kernel of ours for this CPU, or a GPU"
)

Logits = list[NDArray[np.float32]]

_RANDOM = random.Random(5)
_TOKENS = _RANDOM.choices(range(1000, 20_000), k=100)
_OTHERS = _RANDOM.choices(range(1000, 20_000), k=400)
N_PROMPT = 90


@pytest.fixture(scope="module", params=["llama", "gemma3"], ids=["llama", "sliding window"])
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, vocab_dir: Path
) -> Iterator[Model]:
    """A model with quantised weights: they amplify a difference of rounding."""
    yield from _model(request.param, "q8_0", tmp_path_factory.mktemp("models"), vocab_dir)


def _model(name: str, weight_type: str, folder: Path, vocab_dir: Path) -> Iterator[Model]:
    path = folder / "random.gguf"
    vocab = vocab_dir / "ggml-vocab-llama-spm.gguf"
    write_random_architecture(path, vocab, name, weight_type=weight_type)
    with Model(path, ModelParams(use_extra_bufts=False)) as model:
        yield model


class Runner:
    """A context and a batch, for steps of (sequence id, first position, tokens)."""

    def __init__(self, context: Context, batch: Batch) -> None:
        self.context = context
        self._batch = batch

    def decode(self, *chunks: tuple[int, int, Sequence[int]]) -> Logits:
        """The logits after each chunk."""
        self._batch.clear()
        for seq_id, start, tokens in chunks:
            self._batch.extend(list(tokens), start, seq_id, output_last=True)
        self.context.decode(self._batch)
        ends = np.cumsum([len(tokens) for *_, tokens in chunks]) - 1
        return [self.context.logits(int(end)).copy() for end in ends]

    def answer(self, seq_id: int, n_prompt: int = N_PROMPT) -> Logits:
        """A prompt in one step, and the other tokens in one step each."""
        found = self.decode((seq_id, 0, _TOKENS[:n_prompt]))
        return found + self.rest(seq_id, n_prompt)

    def rest(self, seq_id: int, start: int = N_PROMPT, end: int = len(_TOKENS)) -> Logits:
        found: Logits = []
        for i in range(start, end):
            found += self.decode((seq_id, i, _TOKENS[i : i + 1]))
        return found


@contextmanager
def _runner(model: Model, **values: Any) -> Iterator[Runner]:
    defaults = {"n_ctx": 1024, "n_seq_max": 4, "n_threads": 1, "n_threads_batch": 1}
    params = ContextParams(**(defaults | {"swa_full": True} | values))
    with Context(model, params) as context, closing(Batch(context.n_batch)) as batch:
        yield Runner(context, batch)


def _assert_same_bits(ours: Logits, expected: Logits) -> None:
    for mine, other in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(mine.view(np.uint32), other.view(np.uint32))


@pytest.fixture(scope="module")
def expected(model: Model) -> Logits:
    """The logits in an empty cache."""
    with _runner(model) as run:
        return run.answer(0)


@needs_our_attention
@pytest.mark.parametrize("n_before", [1, 37, 64, 300])
def test_cells_behind_others_give_the_same_bits(model, expected, n_before):
    with _runner(model) as run:
        run.decode((0, 0, _OTHERS[:n_before]))
        _assert_same_bits(run.answer(1), expected)


@needs_our_attention
def test_cells_in_holes_and_out_of_order_give_the_same_bits(model, expected):
    """Cells are freed between others' cells, and the answer continues in lower cells."""
    with _runner(model, n_ctx=256) as run:
        # Three sequences take turns, so that the cells of each are scattered.
        for i in range(50):
            run.decode(*((seq_id, i, [_OTHERS[i]]) for seq_id in range(3)))
        run.context.memory_seq_rm(1)
        run.decode((3, 0, _OTHERS[:60]))
        run.context.memory_seq_rm(0)
        _assert_same_bits(run.answer(1), expected)


@needs_our_attention
def test_a_split_cache_gives_the_same_bits(model, expected):
    with _runner(model, kv_unified=False) as run:
        run.decode((0, 0, _OTHERS[:37]))
        _assert_same_bits(run.answer(2), expected)


@needs_our_attention
def test_a_shared_prefix_gives_the_same_bits(model, expected):
    """The prefix was computed for another sequence, whose cells are also seen by a third one."""
    with _runner(model) as run:
        run.decode((3, 0, _OTHERS[:10]))
        first = run.decode((0, 0, _TOKENS[:N_PROMPT]))
        run.context.memory_seq_cp(0, 1, 0, N_PROMPT)
        run.context.memory_seq_cp(0, 2, 0, N_PROMPT)
        run.decode((0, N_PROMPT, _OTHERS[:20]))
        _assert_same_bits(first + run.rest(1), expected)
        _assert_same_bits(run.rest(2), expected[1:])


@needs_our_attention
def test_a_restored_state_gives_the_same_bits(model, expected):
    with _runner(model) as run:
        first = run.decode((0, 0, _TOKENS[:N_PROMPT]))
        state = run.context.state_seq_save(0)
        run.context.memory_clear()
        run.decode((1, 0, _OTHERS[:45]))
        run.context.state_seq_load(2, state)
        _assert_same_bits(first + run.rest(2), expected)


@needs_our_attention
def test_rejected_draft_tokens_leave_the_same_bits(model, expected):
    with _runner(model) as run:
        first = run.decode((0, 0, _TOKENS[:N_PROMPT]))
        run.decode((0, N_PROMPT, _OTHERS[:7]))
        run.context.memory_seq_rm(0, N_PROMPT, -1)
        run.decode((1, 0, _OTHERS[:3]))
        _assert_same_bits(first + run.rest(0), expected)


@needs_our_attention
def test_any_number_of_threads_gives_the_same_bits(model, expected):
    """A prompt and a few tokens: threads that wait for each other take a core each."""
    with _runner(model, n_threads=3, n_threads_batch=3) as run:
        found = run.decode((0, 0, _TOKENS[:N_PROMPT])) + run.rest(0, end=N_PROMPT + 3)
    _assert_same_bits(found, expected[:4])


@needs_our_attention
@pytest.mark.parametrize("weight_type", ["f16", "f32", "q8_0", "q4_0", "q4_k"])
@pytest.mark.parametrize("name", ["llama", "qwen3moe"])
def test_deterministic_bits_do_not_depend_on_the_batch(tmp_path, vocab_dir, name, weight_type):
    """One prompt whole, in parts, a token at a time, and beside others."""
    for model in _model(name, weight_type, tmp_path, vocab_dir):
        with _runner(model, deterministic=True) as run:
            whole = run.answer(0)
            run.decode((1, 0, _TOKENS[:50]))
            parts = run.decode((1, 50, _TOKENS[50:N_PROMPT]))
            _assert_same_bits(parts + run.rest(1), whole)
            singles: Logits = []
            for i in range(len(_TOKENS)):
                # Beside 1 to 12 tokens of another sequence: as many rows in each product.
                beside = (3, 0, _OTHERS[: 1 + i % 12])
                logits, _ = run.decode((2, i, _TOKENS[i : i + 1]), beside)
                run.context.memory_seq_rm(3)
                singles.append(logits)
            _assert_same_bits(singles[N_PROMPT - 1 :], whole)


def test_deterministic_needs_plain_weights(random_llama: Model) -> None:
    with pytest.raises(ContextCreateError, match="use_extra_bufts=False"):
        Context(random_llama, ContextParams(n_ctx=256, deterministic=True))
