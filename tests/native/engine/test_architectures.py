"""Answers equal those of a bare context for every kind of memory, also after eviction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import Engine, load_engine
from llamabind.native.model import Model
from llamabind.request import GenerationRequest, RequestOutput
from tests.support.engine_runs import ENDLESS, Reference
from tests.support.random_architectures import (
    ARCHITECTURES,
    Architecture,
    write_random_architecture,
)

pytestmark = pytest.mark.native

N_TOKENS = 12


@pytest.fixture(scope="module", params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    return ARCHITECTURES[request.param]


@pytest.fixture(scope="module")
def path(
    architecture: Architecture, tmp_path_factory: pytest.TempPathFactory, vocab_dir: Path
) -> Path:
    path = tmp_path_factory.mktemp("models") / f"{architecture.name}.gguf"
    vocab_file = vocab_dir / "ggml-vocab-llama-spm.gguf"
    return write_random_architecture(path, vocab_file, architecture.name)


@pytest.fixture(scope="module")
def reference(path: Path) -> Iterator[Reference]:
    with Model(path) as model:
        yield Reference(model)


@pytest.fixture(scope="module", params=[True, False], ids=["unified", "split"])
def kv_unified(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture
def load(path: Path, kv_unified: bool) -> Iterator[Callable[..., Engine]]:
    """Loads an engine whose requests have up to 256 tokens each, and closes it afterwards."""
    engines: list[Engine] = []

    def load(n_parallel: int = 4, **fields) -> Engine:
        fields.setdefault("n_ctx", 256 * n_parallel)
        config = EngineConfig(
            n_parallel=n_parallel,
            n_batch=256,
            n_threads=1,
            kv_unified=kv_unified,
            **{"swa_full": False, "cache_ram_mib": 64} | fields,
        )
        engines.append(load_engine(path, config=config))
        return engines[-1]

    yield load
    for engine in engines:
        engine.close()


def _prompt(seed: int, n: int) -> list[int]:
    return np.random.default_rng(seed).integers(300, 30_000, n).tolist()


def _run(engine: Engine, *prompts: list[int], n: int = N_TOKENS) -> list[list[RequestOutput]]:
    outputs: dict[str, list[RequestOutput]] = {}
    for index, prompt in enumerate(prompts):
        request = GenerationRequest(
            request_id=str(index),
            prompt_tokens=tuple(prompt),
            max_tokens=n,
            sampling=ENDLESS,
            logprobs=3,
        )
        engine.prepare(request)
        engine.add(request)
        outputs[str(index)] = []
    while engine.has_work:
        for output in engine.step():
            outputs[output.request_id].append(output)
    engine.check_idle()
    return list(outputs.values())


def _tokens(outputs: list[RequestOutput]) -> list[int]:
    return [token for output in outputs for token in output.token_ids]


def _cached(outputs: list[RequestOutput]) -> int:
    return outputs[-1].usage.cached_tokens


def test_answers_batched_with_others_equal_those_computed_alone(load, reference):
    prompts = [_prompt(seed, 5 + 9 * seed) for seed in range(4)]
    for prompt, outputs in zip(prompts, _run(load(), *prompts), strict=True):
        reference.check(prompt, outputs)


def test_a_shared_prefix_is_computed_once(load, reference):
    shared = _prompt(10, 100)
    prompts = [[*shared, *_prompt(11 + i, 6 + i)] for i in range(4)]
    engine = load()
    together = _run(engine, *prompts)
    assert sorted(map(_cached, together)) == [0, 100, 100, 100]
    assert engine.stats.prompt_tokens == 100 + sum(len(prompt) - 100 for prompt in prompts)
    for prompt, outputs in zip(prompts, together, strict=True):
        reference.check(prompt, outputs)


def test_the_third_request_with_a_prefix_computes_only_the_rest(load, reference):
    """If memory cannot be cut, the second request shows where the prefix ends."""
    shared = _prompt(20, 80)
    prompts = [[*shared, *_prompt(21 + i, 20)] for i in range(3)]
    engine = load()
    one_by_one = [_run(engine, prompt)[0] for prompt in prompts]
    assert _cached(one_by_one[2]) == 80
    for prompt, outputs in zip(prompts, one_by_one, strict=True):
        reference.check(prompt, outputs)


def test_the_next_turn_of_a_conversation_computes_only_new_tokens(load, reference):
    prompt = _prompt(30, 60)
    engine = load()
    [first] = _run(engine, prompt)
    second_prompt = [*prompt, *_tokens(first), *_prompt(31, 10)]
    [second] = _run(engine, second_prompt)
    assert _cached(second) == 60 + N_TOKENS - 1
    reference.check(second_prompt, second)


def test_the_same_prompt_again_computes_only_its_end(load, reference):
    prompt = _prompt(40, 90)
    engine = load()
    _run(engine, prompt)
    [again] = _run(engine, prompt)
    assert _cached(again) >= 90 - 4
    reference.check(prompt, again)


def test_an_evicted_conversation_is_restored_from_host_memory(load, reference):
    prompts = [_prompt(50 + i, 70) for i in range(5)]
    engine = load(n_parallel=1)
    answers = [_run(engine, prompt)[0] for prompt in prompts]
    assert engine.stats.cache_ram_bytes > 0
    before = engine.stats.prompt_tokens
    follow_up = [*prompts[0], *_tokens(answers[0]), *_prompt(60, 10)]
    [outputs] = _run(engine, follow_up)
    assert _cached(outputs) == 70 + N_TOKENS - 1
    assert engine.stats.prompt_tokens - before == 11
    reference.check(follow_up, outputs)
    # And up to an earlier position: a prompt with the same beginning and another end.
    branch = [*prompts[1][:66], *_prompt(61, 10)]
    [outputs] = _run(engine, branch)
    assert _cached(outputs) == 66
    reference.check(branch, outputs)


def test_without_host_memory_everything_is_computed_again(load, reference):
    prompts = [_prompt(70 + i, 70) for i in range(4)]
    engine = load(n_parallel=1, cache_ram_mib=0)
    for prompt in prompts:
        _run(engine, prompt)
    [outputs] = _run(engine, prompts[0])
    assert _cached(outputs) == 0
    assert engine.stats.cache_ram_bytes == 0
    reference.check(prompts[0], outputs)


def test_requests_preempted_for_lack_of_cells_continue_their_answers(
    load, reference, architecture, kv_unified
):
    prompts = [_prompt(80 + i, 40) for i in range(4)]
    engine = load(n_ctx=256 if kv_unified else 1024)
    for prompt, outputs in zip(prompts, _run(engine, *prompts, n=60), strict=True):
        assert outputs[-1].usage.completion_tokens == 60
        reference.check(prompt, outputs)
    assert engine.stats.prompt_tokens == 4 * 40
    # With a split cache or without cells, no sequence takes cells from another.
    assert (engine.stats.cache_ram_bytes > 0) == (not architecture.can_be_cut or kv_unified)
