"""Speculation, windows, long contexts, sampling and schemas with trained models."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest

from llamabind import SamplingParams
from llamabind.native.kernels import ATTENTION_VARIABLE
from realmodels.runs import GREEDY, Bits, bits, greedy_bits, open_llm
from realmodels.text import english_text

QUESTION = [{"role": "user", "content": "Name three animals and say a sentence about each."}]


def test_a_draft_model_changes_no_answer(smollm2: Path) -> None:
    """SmolLM2 drafts for itself, so nearly all draft tokens are accepted."""
    with open_llm(smollm2, deterministic=True) as llm:
        expected = bits(llm.chat(QUESTION, GREEDY, max_tokens=60, logprobs=0))
    with open_llm(smollm2, deterministic=True, draft_model=smollm2) as llm:
        answer = llm.chat(QUESTION, GREEDY, max_tokens=60, logprobs=0)
        stats = llm.stats.speculation
    assert bits(answer) == expected
    assert stats.accepted_tokens > 0.9 * stats.draft_tokens > 0


def test_drafts_change_no_sampled_answer(smollm2: Path) -> None:
    """Seeded samples, too, are the same with a draft model and with n-gram drafts."""
    params = [SamplingParams(temperature=1, top_k=40, seed=seed) for seed in range(2)]

    def answers(**values: str | Path) -> list[Bits]:
        with open_llm(smollm2, deterministic=True, **values) as llm:
            return [bits(llm.chat(QUESTION, one, max_tokens=24, logprobs=0)) for one in params]

    expected = answers()
    assert answers(draft_model=smollm2) == expected
    assert answers(speculative="ngram") == expected


def test_ngram_drafts_change_no_answer(smollm2: Path) -> None:
    prompt = "one two three four five six seven eight nine ten. " * 6
    with open_llm(smollm2, deterministic=True) as llm:
        expected = greedy_bits(llm, prompt, 60)
    with open_llm(smollm2, deterministic=True, speculative="ngram") as llm:
        assert greedy_bits(llm, prompt, 60) == expected
        assert llm.stats.speculation.accepted_tokens > 0


@pytest.mark.parametrize("swa_full", [True, False], ids=["full cache", "small cache"])
def test_a_prefix_longer_than_the_window_is_shared(gemma3: Path, swa_full: bool) -> None:
    """Gemma's window is 512 tokens, the shared prefix about 1,200."""
    prefix = english_text()[:4500]
    ends = ["\n\nIn short, this document", "\n\nThe first step is"]
    with open_llm(gemma3, deterministic=True, swa_full=swa_full) as llm:
        expected = [greedy_bits(llm, prefix + end, 12, cache_prompt=False) for end in ends]
    with open_llm(gemma3, deterministic=True, swa_full=swa_full) as llm:
        answers = [llm.generate(prefix + end, GREEDY, max_tokens=12, logprobs=0) for end in ends]
    assert answers[1].usage.cached_tokens > (512 if swa_full else 0)
    assert [bits(answer) for answer in answers] == expected


@pytest.mark.parametrize("swa_full", [True, False], ids=["full cache", "small cache"])
def test_a_window_is_complete_after_eviction_and_restore(gemma3: Path, swa_full: bool) -> None:
    """2,048 cells are too few for nine windows, so both caches have the full size."""
    prompt, *others = [english_text()[i * 2500 :][:2400] for i in range(5)]
    values = {"n_ctx": 2048, "deterministic": True, "swa_full": swa_full}
    with open_llm(gemma3, **values) as llm:
        expected = greedy_bits(llm, prompt, 8, cache_prompt=False)
        beside = llm.generate([prompt, *others], GREEDY, max_tokens=8, logprobs=0)
        assert bits(beside[0]) == expected
        for other in others:
            llm.generate(other, GREEDY, max_tokens=2)
        assert greedy_bits(llm, prompt, 8) == expected


def test_long_contexts_match_ggmls_attention(
    smollm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log-probabilities of 64 tokens after nearly 8,000."""
    with open_llm(smollm2, n_ctx=8192) as llm:
        tokens = llm.tokenizer.encode(english_text())[:7936]
        assert len(tokens) == 7936
        ours = llm.generate(tokens, GREEDY, max_tokens=1, prompt_logprobs=0).prompt_logprobs[-64:]
    monkeypatch.setenv(ATTENTION_VARIABLE, "ggml")
    with open_llm(smollm2, n_ctx=8192) as llm:
        found = llm.generate(tokens, GREEDY, max_tokens=1, prompt_logprobs=0)
        theirs = found.prompt_logprobs[-64:]
    differences = [abs(a.logprob - b.logprob) for a, b in zip(ours, theirs, strict=True)]
    assert sum(differences) / 64 < 0.05
    assert max(differences) < 0.5


def test_samples_follow_the_distribution(smollm2: Path) -> None:
    """Chi-squared of 600 samples of one token; the limit is passed once in 1,000 runs."""
    n = 600
    params = [SamplingParams(temperature=1, top_k=0, top_p=1, min_p=0, seed=i) for i in range(n)]
    prompt = "My favourite colour is"
    with open_llm(smollm2, n_parallel=16) as llm:
        first = llm.generate(prompt, GREEDY, max_tokens=1, logprobs=10)
        likely = {token: math.exp(logprob) for token, logprob in first.logprobs[0].top}
        answers = llm.generate([prompt] * n, params, max_tokens=1)
    seen = Counter(answer.token_ids[0] for answer in answers)
    expected = {token: n * p for token, p in likely.items() if n * p >= 5}
    rest = n - sum(expected.values())
    chi2 = sum((seen[token] - e) ** 2 / e for token, e in expected.items())
    chi2 += (n - sum(seen[token] for token in expected) - rest) ** 2 / rest
    # The 0.999 quantile by Wilson and Hilferty.
    k = len(expected)
    assert k > 0
    assert chi2 < k * (1 - 2 / (9 * k) + 3.09 * math.sqrt(2 / (9 * k))) ** 3


def test_schema_output_is_valid(smollm2: Path) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 30},
            "legs": {"type": "integer", "minimum": 0, "maximum": 8},
            "is_wild": {"type": "boolean"},
        },
        "required": ["name", "legs", "is_wild"],
        "additionalProperties": False,
    }
    with open_llm(smollm2) as llm:
        for seed in range(8):
            params = SamplingParams(temperature=1, seed=seed)
            answer = llm.chat(
                [{"role": "user", "content": "Describe an animal as JSON."}],
                params,
                json_schema=schema,
                max_tokens=120,
            )
            value = json.loads(answer.text)
            assert set(value) == {"name", "legs", "is_wild"}
            assert 0 <= value["legs"] <= 8
            assert isinstance(value["is_wild"], bool)
