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
    ("name", "attention"), [("smollm2_f32", ""), ("smollm2", "ggml"), ("gemma3", "ggml")]
)
def test_perplexity_is_llama_perplexitys(
    request: pytest.FixtureRequest,
    program: Path,
    text: Path,
    name: str,
    attention: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With ggml's attention where activations are rounded to 8 bits (see the next test)."""
    monkeypatch.setenv(ATTENTION_VARIABLE, attention)
    model = request.getfixturevalue(name)
    theirs = perplexity(program, model, text, N_CTX, N_CHUNKS)
    ours = our_perplexity(model, text)
    print(f"{name}: perplexity {ours:.4f}, llama-perplexity {theirs:.4f}")
    assert math.log(ours / theirs) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_with_4_bit_weights_our_attention_is_as_near_as_ggmls_two_are_to_each_other(
    request: pytest.FixtureRequest, program: Path, text: Path, name: str
) -> None:
    """Two kinds of attention differ by about 1e-6. Activations are then rounded to 8 bits, which
    amplifies this to 1e-2 in the log-probability of a token, also between ggml's own two kinds.
    """
    model = request.getfixturevalue(name)
    flash, plain = (
        perplexity(program, model, text, N_CTX, N_CHUNKS, "-fa", value) for value in ("on", "off")
    )
    ours = our_perplexity(model, text)
    print(f"{name}: perplexity {ours:.4f}, llama-perplexity -fa on {flash:.4f}, off {plain:.4f}")
    spread = abs(math.log(flash / plain))
    assert abs(math.log(ours / flash)) < 2 * spread + 1e-3
    assert abs(math.log(ours / plain)) < 2 * spread + 1e-3
