"""Perplexity by prompt_logprobs against llama-perplexity."""

import math
from pathlib import Path

import pytest

from llamabind.context.attention import ATTENTION_VARIABLE
from realmodels.perplexity_tool import build, perplexity
from realmodels.runs import open_llm
from realmodels.text import english_text

N_CTX = 512
N_CHUNKS = 2


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("bin"))


@pytest.mark.parametrize(
    ("name", "attention"), [("smollm2_f32", ""), ("smollm2", "ggml"), ("gemma3", "ggml")]
)
def test_perplexity_is_llama_perplexitys(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    program: Path,
    name: str,
    attention: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With ggml's attention where activations are rounded to 8 bits.

    Our attention differs from ggml's by 1e-6, which the rounding amplifies to 1e-2 for a token.
    """
    monkeypatch.setenv(ATTENTION_VARIABLE, attention)
    model = request.getfixturevalue(name)
    file = tmp_path / "text.txt"
    file.write_text(english_text()[:20_000], encoding="utf-8")
    theirs = perplexity(program, model, file, N_CTX, N_CHUNKS)
    with open_llm(model) as llm:
        tokens = llm.tokenizer.encode(file.read_text(encoding="utf-8"), add_special=True)
        first = tokens[:1] if llm.tokenizer.add_bos else []
        total = 0.0
        for start in range(0, N_CHUNKS * N_CTX, N_CTX):
            chunk = tokens[start : start + N_CTX]
            # As llama-perplexity: a chunk begins with BOS, and its second half counts.
            chunk = first + chunk[len(first) :]
            found = llm.generate(chunk, max_tokens=1, prompt_logprobs=0).prompt_logprobs
            assert len(found) == N_CTX - 1
            total -= sum(one.logprob for one in found[N_CTX // 2 :])
    ours = math.exp(total / (N_CHUNKS * (N_CTX - 1 - N_CTX // 2)))
    print(f"{name}: perplexity {ours:.4f}, llama-perplexity {theirs:.4f}")
    assert math.log(ours / theirs) == pytest.approx(0, abs=1e-3)
