"""How far our attention is from attention in float32, and from ggml's, beside ggml's own."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from llamabind.native.kernels import ATTENTION_VARIABLE
from realmodels.runs import GREEDY, open_llm
from realmodels.text import english_text

N_TOKENS = 512


def logprobs(path: Path, **values: object) -> NDArray[np.float64]:
    """The log-probability of each token of a text, given those before it."""
    with open_llm(path, n_ctx=1024, n_parallel=1, **values) as llm:
        tokens = llm.tokenizer.encode(english_text()[:20_000])[:N_TOKENS]
        answer = llm.generate(tokens, GREEDY, max_tokens=1, prompt_logprobs=0)
    found = np.array([one.logprob for one in answer.prompt_logprobs])
    assert found.shape == (N_TOKENS - 1,)
    return found


def test_attention_is_as_accurate_as_ggmls(
    smollm2_f32: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference multiplies and stores keys and values in F32, without flash attention."""
    exact = logprobs(smollm2_f32, type_k="f32", type_v="f32", flash_attn="off")
    ours = np.abs(logprobs(smollm2_f32) - exact)
    monkeypatch.setenv(ATTENTION_VARIABLE, "ggml")
    ggml = np.abs(logprobs(smollm2_f32) - exact)
    for name, found in {"ours": ours, "ggml": ggml}.items():
        print(f"{name}: at most {found.max():.1e}, mean {found.mean():.1e} in log-probability")
    assert ours.max() <= 9e-3
    assert ours.mean() <= 7e-4


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_with_4_bit_weights_our_attention_differs_as_ggmls_two_kinds_do(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Kinds of attention differ by about 1e-6. Activations are then rounded to 8 bits, so that some
    become a neighbouring integer, which changes the log-probability of a token by 1e-2 and more.
    """
    path = request.getfixturevalue(name)
    ours = logprobs(path)
    monkeypatch.setenv(ATTENTION_VARIABLE, "ggml")
    flash = logprobs(path)
    peers = np.abs(logprobs(path, flash_attn="off") - flash).mean()
    found = np.abs(ours - flash).mean()
    print(f"{name}, mean difference from flash attention: ours {found:.1e}, without {peers:.1e}")
    assert 0 < found < 1.5 * peers
