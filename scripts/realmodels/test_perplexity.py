"""Perplexity by prompt_logprobs against llama-perplexity."""

import math
from pathlib import Path

import pytest

from llamabind.native.kernels import ATTENTION_VARIABLE, PRODUCTS_VARIABLE
from realmodels.perplexity_tool import build, perplexity
from realmodels.runs import open_llm
from realmodels.text import english_text

N_CTX = 512
N_CHUNKS = 2


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("bin"))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(english_text()[:20_000], encoding="utf-8")
    return path


def our_perplexity(model: Path, text: Path) -> float:
    """Computed as llama-perplexity does: a chunk begins with BOS, and its second half counts."""
    total = 0.0
    with open_llm(model) as llm:
        tokens = llm.tokenizer.encode(text.read_text(encoding="utf-8"), add_special=True)
        first = tokens[:1] if llm.tokenizer.add_bos else []
        for start in range(0, N_CHUNKS * N_CTX, N_CTX):
            chunk = first + tokens[start : start + N_CTX][len(first) :]
            found = llm.generate(chunk, max_tokens=1, prompt_logprobs=0).prompt_logprobs
            assert len(found) == N_CTX - 1
            total -= sum(one.logprob for one in found[N_CTX // 2 :])
    return math.exp(total / (N_CHUNKS * (N_CTX - 1 - N_CTX // 2)))


@pytest.mark.parametrize(
    ("name", "kernels"), [("smollm2_f32", ""), ("smollm2", "ggml"), ("gemma3", "ggml")]
)
def test_perplexity_is_llama_perplexitys(
    request: pytest.FixtureRequest,
    program: Path,
    text: Path,
    name: str,
    kernels: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With ggml's kernels where activations are rounded to 8 bits.

    The rounding amplifies the smallest differences: see test_accuracy.py.
    """
    monkeypatch.setenv(ATTENTION_VARIABLE, kernels)
    monkeypatch.setenv(PRODUCTS_VARIABLE, kernels)
    model = request.getfixturevalue(name)
    theirs = perplexity(program, model, text, N_CTX, N_CHUNKS)
    ours = our_perplexity(model, text)
    print(f"{name}: perplexity {ours:.4f}, llama-perplexity {theirs:.4f}")
    assert math.log(ours / theirs) == pytest.approx(0, abs=1e-3)
