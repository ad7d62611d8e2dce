"""generation_settings: the parameters of a generation, with llama-server's names."""

import math
from typing import Any, Final

import msgspec

from llamabind.sampling.params import RANDOM_SEED, SamplingParams
from server.protocol.job import Job

# Texts, and lists in llama-server's form: shown to the request's own client only.
_DETAILS: Final = frozenset(
    {
        "dry_sequence_breakers",
        "grammar",
        "grammar_lazy",
        "grammar_prefill",
        "grammar_root",
        "grammar_triggers",
        "generation_prompt",
        "logit_bias",
        "reasoning_budget_end_tags",
        "reasoning_budget_message",
        "reasoning_budget_start_tag",
    }
)


def brief_settings(sampling: SamplingParams, max_tokens: int | None = None) -> dict[str, Any]:
    """The settings in /props and /slots, without those that reveal the content of a request."""
    values = {
        name: value for name, value in msgspec.to_builtins(sampling).items() if name not in _DETAILS
    }
    limit = -1 if max_tokens is None else max_tokens
    seed = RANDOM_SEED if sampling.seed is None else sampling.seed
    return values | {"seed": seed, "max_tokens": limit, "n_predict": limit}


def full_settings(job: Job, *, stream: bool) -> dict[str, Any]:
    """The settings in the reply of /completion."""
    sampling = job.sampling
    return brief_settings(sampling, job.max_tokens) | {
        "dry_sequence_breakers": list(sampling.dry_sequence_breakers),
        "stop": list(job.stop),
        "min_tokens": job.min_tokens,
        "stream": stream,
        "logit_bias": [{"token": token, "bias": _number(bias)} for token, bias in job.logit_bias],
        "n_probs": job.logprobs or 0,
        "post_sampling_probs": job.post_sampling_probs,
        "n_keep": job.n_keep,
        "n_discard": job.n_discard,
        "timings_per_token": job.timings_per_token,
        "lora": [{"id": number, "scale": scale} for number, scale in (job.lora or {}).items()],
        "grammar": sampling.grammar or "",
    }


def _number(bias: float) -> float | bool:
    """llama-server's form of a bias: false for infinity, which JSON lacks; it bans the token."""
    return bias if math.isfinite(bias) else False
