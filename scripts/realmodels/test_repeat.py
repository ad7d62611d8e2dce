"""The same greedy request gives the same tokens and log-probabilities, bit for bit."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llamabind import LLM
from realmodels.runs import GREEDY, Bits, bits, greedy_bits, open_llm
from realmodels.text import english_text

PROMPT = (
    "The fox, the clockmaker and the winter sea: a long story with many details about each of "
    "them. Once upon a time, in a town at the edge of the ice, there was"
)
N_TOKENS = 24
TIMES = 20


@pytest.fixture(scope="module", params=["smollm2", "smollm2_q8_0"], ids=["Q4_1", "Q8_0"])
def path(request: pytest.FixtureRequest) -> Path:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Path)
    return found


@pytest.fixture(scope="module", params=[1, 2], ids=["1 thread", "2 threads"])
def n_threads(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def llm(path: Path, n_threads: int) -> Iterator[LLM]:
    # 1,024 cells: eight others evict what a finished request left.
    values = {"n_ctx": 1024, "n_threads": n_threads, "n_threads_batch": n_threads}
    with open_llm(path, deterministic=True, **values) as llm:
        yield llm


@pytest.fixture(scope="module")
def expected(llm: LLM) -> Bits:
    return greedy_bits(llm, PROMPT, N_TOKENS, cache_prompt=False)


def test_twenty_times(llm: LLM, expected: Bits) -> None:
    found = [greedy_bits(llm, PROMPT, N_TOKENS) for _ in range(TIMES)]
    assert found == [expected] * TIMES


def test_beside_eight_others(llm: LLM, expected: Bits) -> None:
    others = [english_text()[i * 500 : i * 500 + 200] for i in range(8)]
    answers = llm.generate(
        [*others[:4], PROMPT, *others[4:]], GREEDY, max_tokens=N_TOKENS, logprobs=0
    )
    assert bits(answers[4]) == expected


def test_after_eviction_and_restore(llm: LLM, expected: Bits) -> None:
    assert llm.stats.cells_total == 1024
    others = [english_text()[9000 + i * 1000 : 9000 + i * 1000 + 900] for i in range(6)]
    for other in others:
        llm.generate(other, GREEDY, max_tokens=2)
    assert llm.stats.cache_ram_bytes > 0, "nothing was evicted"
    again = llm.generate(PROMPT, GREEDY, max_tokens=N_TOKENS, logprobs=0)
    assert again.usage.cached_tokens > 0, "nothing was restored"
    assert bits(again) == expected


def test_without_pinned_kernels_equal_batches_give_equal_bits(path: Path) -> None:
    """The default: the same prompt in the same steps, wherever the cells are."""
    with open_llm(path, n_ctx=1024, n_threads=1, n_threads_batch=1) as llm:
        found = set()
        for i in range(5):
            found.add(greedy_bits(llm, PROMPT, N_TOKENS, cache_prompt=False))
            llm.generate(english_text()[i * 900 : i * 900 + 100 + 37 * i], GREEDY, max_tokens=1)
    assert len(found) == 1
