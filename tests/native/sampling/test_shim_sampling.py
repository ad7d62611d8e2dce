"""lb_sample: many sequences in one call, grammars and samplers in llama-server's order."""

import ctypes
import json
from collections.abc import Iterator, Sequence
from itertools import starmap
from typing import Any

import numpy as np
import pytest

from llamabind._capi import llama, shim, types
from llamabind._capi.shim import GuardedSamplerHandle, lb_status
from llamabind._capi.shim_text import last_error
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from tests.support.shim_grammar import JSON_GBNF

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def model(vocab_dir) -> Iterator[Model]:
    path = vocab_dir / "ggml-vocab-gpt-2.gguf"
    with Model(path, ModelParams(vocab_only=True)) as model:
        yield model


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


class _Samplers:
    """Makes lb_samplers and frees them."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.made: list[GuardedSamplerHandle] = []

    def make(
        self, *, seed: int | None = None, grammar: str = "", bias: dict[int, float] | None = None
    ) -> GuardedSamplerHandle:
        """A greedy chain, or one that draws with a seed."""
        chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        if bias:
            entries = (types.llama_logit_bias * len(bias))(
                *starmap(types.llama_logit_bias, bias.items())
            )
            llama.llama_sampler_chain_add(
                chain, llama.llama_sampler_init_logit_bias(self.model.n_vocab, len(bias), entries)
            )
        last = (
            llama.llama_sampler_init_greedy()
            if seed is None
            else llama.llama_sampler_init_dist(seed)
        )
        llama.llama_sampler_chain_add(chain, last)
        handle = None
        if grammar:
            spec = json.dumps({"grammar": grammar}).encode()
            handle = shim.lb_grammar_init(self.model.tokenizer.ptr, spec)
            assert handle, last_error()
        sampler = shim.lb_sampler_init(self.model.tokenizer.ptr, chain, handle)
        assert sampler, last_error()
        self.made.append(sampler)
        return sampler

    def adopt(self, sampler: GuardedSamplerHandle | None) -> GuardedSamplerHandle:
        assert sampler
        self.made.append(sampler)
        return sampler


@pytest.fixture
def samplers(model) -> Iterator[_Samplers]:
    samplers = _Samplers(model)
    yield samplers
    for sampler in samplers.made:
        shim.lb_sampler_free(sampler)


def _pointers(rows: Sequence[np.ndarray]) -> Any:
    return (ctypes.c_void_p * len(rows))(*[row.ctypes.data for row in rows])


def _sample(
    samplers: Sequence[GuardedSamplerHandle],
    rows: Sequence[np.ndarray],
    *,
    accept: bool = True,
    n_threads: int = 1,
) -> tuple[list[int], list[int]]:
    """Tokens and statuses."""
    n = len(samplers)
    tokens, statuses = (ctypes.c_int32 * n)(), (ctypes.c_int32 * n)()
    handles = (ctypes.c_void_p * n)(*samplers)
    shim.lb_sample(handles, _pointers(rows), n, rows[0].size, accept, n_threads, tokens, statuses)
    return list(tokens), list(statuses)


def _logits(rng: np.random.Generator, n_vocab: int, n_rows: int) -> list[np.ndarray]:
    return [row.astype(np.float32) for row in rng.normal(0, 3, (n_rows, n_vocab))]


def test_greedy_is_argmax(model, samplers, rng):
    rows = _logits(rng, model.n_vocab, 5)
    tokens, statuses = _sample([samplers.make() for _ in rows], rows)
    assert tokens == [int(row.argmax()) for row in rows]
    assert statuses == [lb_status.LB_OK] * 5


def test_the_logits_are_not_changed(model, samplers, rng):
    [row] = _logits(rng, model.n_vocab, 1)
    before = row.copy()
    _sample([samplers.make(grammar=JSON_GBNF)], [row])
    assert (row == before).all()


def test_a_seed_repeats_itself(model, samplers, rng):
    rows = _logits(rng, model.n_vocab, 1) * 30
    runs = []
    for seed in (5, 5, 6):
        sampler = samplers.make(seed=seed)
        runs.append([_sample([sampler], [row])[0][0] for row in rows])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert len(set(runs[0])) > 1


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_many_at_once_equal_one_at_a_time(model, samplers, rng, n_threads):
    n = 8
    kinds = [{"seed": i, "grammar": JSON_GBNF if i % 2 else ""} for i in range(n)]
    together = [samplers.make(**kind) for kind in kinds]
    alone = [samplers.make(**kind) for kind in kinds]
    for _ in range(10):
        rows = _logits(rng, model.n_vocab, n)
        tokens, statuses = _sample(together, rows, n_threads=n_threads)
        singles = [_sample([one], [row]) for one, row in zip(alone, rows, strict=True)]
        assert tokens == [token for [token], _ in singles]
        assert statuses == [status for _, [status] in singles] == [lb_status.LB_OK] * n


@pytest.mark.parametrize("seed", range(3))
def test_what_a_grammar_samples_is_what_it_describes(model, samplers, rng, seed):
    grammar = 'root ::= "{\\"a\\": " [0-9]{1,5} ", \\"b\\": [" ("true" | "false") "]}"'
    sampler = samplers.make(seed=seed, grammar=grammar)
    eos, tokens = model.tokenizer.eos, []
    for row in _logits(rng, model.n_vocab, 40):
        [token], [status] = _sample([sampler], [row])
        assert status == lb_status.LB_OK
        tokens.append(token)
        if token == eos:
            break
    assert tokens[-1] == eos
    text = model.tokenizer.decode(tokens[:-1], remove_special=False, unparse_special=False)
    answer = json.loads(text)
    assert 0 <= answer["a"] < 100_000
    assert answer["b"] in ([True], [False])


def test_a_token_that_fits_is_sampled_as_if_there_were_no_grammar(model, samplers, rng):
    [row] = _logits(rng, model.n_vocab, 1)
    [best], _ = _sample([samplers.make()], [row])
    [same], _ = _sample([samplers.make(grammar="root ::= .*")], [row])
    assert same == best


def test_without_accept_the_grammar_stays(model, samplers, rng):
    [row] = _logits(rng, model.n_vocab, 1)
    sampler = samplers.make(grammar='root ::= "a" "b"')
    first = _sample([sampler], [row], accept=False)
    assert _sample([sampler], [row], accept=False) == first


def test_a_dead_end_is_a_status_of_that_sequence_alone(model, samplers, rng):
    rows = _logits(rng, model.n_vocab, 3)
    banned = {
        token: -np.inf for token in range(model.n_vocab) if model.tokenizer.piece(token)[:1] == b"a"
    }
    stuck = samplers.make(grammar='root ::= "abc"', bias=banned)
    tokens, statuses = _sample([samplers.make(), stuck, samplers.make()], rows)
    assert statuses == [lb_status.LB_OK, lb_status.LB_GRAMMAR_DEAD_END, lb_status.LB_OK]
    assert tokens == [int(rows[0].argmax()), -1, int(rows[2].argmax())]
    assert "continue the grammar" in last_error()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_broken_logits_are_an_error_not_a_choice(model, samplers, rng, bad):
    [row] = _logits(rng, model.n_vocab, 1)
    row[7] = bad
    tokens, statuses = _sample([samplers.make()], [row])
    assert (tokens, statuses) == ([-1], [lb_status.LB_ERROR])


def test_logits_that_rule_out_everything_are_an_error(model, samplers):
    row = np.full(model.n_vocab, -np.inf, np.float32)
    _, statuses = _sample([samplers.make(seed=1)], [row])
    assert statuses == [lb_status.LB_ERROR]


def test_a_chain_that_bans_every_token_is_an_error(model, samplers, rng):
    [row] = _logits(rng, model.n_vocab, 1)
    banned = dict.fromkeys(range(model.n_vocab), -np.inf)
    _, statuses = _sample([samplers.make(bias=banned)], [row])
    assert statuses == [lb_status.LB_ERROR]


def test_more_logits_than_tokens_are_an_error(model, samplers):
    row = np.zeros(model.n_vocab + 1, np.float32)
    _, statuses = _sample([samplers.make()], [row])
    assert statuses == [lb_status.LB_INVALID]


def test_a_prompt_token_does_not_move_the_grammar(model, samplers):
    sampler = samplers.make(grammar='root ::= "abc"')
    [x] = model.tokenizer.encode("x", add_special=False, parse_special=False)
    assert shim.lb_sampler_accept(sampler, x, False) == lb_status.LB_OK
    assert shim.lb_sampler_accept(sampler, x, True) == lb_status.LB_TOKEN_REFUSED
    assert shim.lb_sampler_accept(sampler, -5, True) == lb_status.LB_INVALID


def test_a_clone_continues_from_the_same_state_and_reset_starts_over(model, samplers, rng):
    rows = _logits(rng, model.n_vocab, 12)
    sampler = samplers.make(seed=3, grammar=JSON_GBNF)
    first = [_sample([sampler], [row])[0] for row in rows[:6]]
    twin = samplers.adopt(shim.lb_sampler_clone(sampler))
    rest = [_sample([sampler], [row])[0] for row in rows[6:]]
    assert [_sample([twin], [row])[0] for row in rows[6:]] == rest
    assert shim.lb_sampler_reset(sampler) == lb_status.LB_OK
    assert [_sample([sampler], [row])[0] for row in rows[:6]] == first
