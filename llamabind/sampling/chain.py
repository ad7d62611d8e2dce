"""Builds a llama.cpp sampler chain from SamplingParams, as llama-server does."""

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from llamabind._capi import llama, types
from llamabind._capi.types import SamplerHandle
from llamabind.errors import InvalidParameterError
from llamabind.sampling.params import MIN_TEMPERATURE, RANDOM_SEED, SamplingParams

if TYPE_CHECKING:
    from llamabind.native.model import Model

# The m of mirostat 1 (common/sampling.cpp).
_MIROSTAT_M: Final = 100
# For a larger top_k selecting the best logits costs as much as sorting all of them.
_MAX_BEST: Final = 1024
# Samplers that never change which token is the most likely one.
_KEEP_THE_BEST: Final = frozenset({"top_n_sigma", "top_k", "top_p", "min_p", "temperature"})


def build_chain(model: "Model", params: SamplingParams, n_history: int) -> SamplerHandle:
    """Return a chain that the caller owns (common_sampler_init of common/sampling.cpp).

    `n_history` bounds repeat_last_n and dry_penalty_last_n, which native code allocates. Raises
    InvalidParameterError for a logit bias of a token that the vocabulary lacks.
    """
    biases = _logit_biases(model, params)
    chain = llama.llama_sampler_chain_init(types.llama_sampler_chain_params(no_perf=True))
    builder = _Builder(model, params, n_history)
    for sampler in builder.samplers(biases):
        # The chain owns it from here on.
        llama.llama_sampler_chain_add(chain, sampler)
    return chain


def build_filters(model: "Model", params: SamplingParams, n_history: int) -> SamplerHandle:
    """As build_chain, without the sampler at the end that chooses a token; the caller owns it."""
    biases = _logit_biases(model, params)
    chain = llama.llama_sampler_chain_init(types.llama_sampler_chain_params(no_perf=True))
    for sampler in _Builder(model, params, n_history).filters(biases):
        llama.llama_sampler_chain_add(chain, sampler)
    return chain


def n_best(model: "Model", params: SamplingParams) -> int:
    """Return how many of the largest logits the chain needs to see; 0 if it needs all of them.

    The number is known for greedy sampling, and where top_k is the first sampler with an effect.
    """
    names = _acting(params)
    if "adaptive_p" in names or params.mirostat or any(bias > 0 for _, bias in params.logit_bias):
        return 0
    # A negative bias may remove tokens from the first k, so that others move up.
    spare = len(_logit_biases(model, params))
    if params.is_greedy and _KEEP_THE_BEST.issuperset(names):
        return 1 + spare
    if names and names[0] == "top_k" and params.top_k + spare <= _MAX_BEST:
        return params.top_k + spare
    return 0


def min_p_limit(model: "Model", params: SamplingParams) -> tuple[float, int] | None:
    """Return the arguments of lb_sampler_set_min_p, if min_p is the first sampler with an effect.

    They are the logarithm of min_p and the most tokens that logit biases may exclude before it.
    """
    if _acting(params)[:1] != ["min_p"] or params.min_keep > 1 or params.min_p >= 1.0:
        return None
    if any(bias > 0 for _, bias in params.logit_bias):
        return None
    n_excluded = len(_logit_biases(model, params))
    return (math.log(params.min_p), n_excluded) if n_excluded <= _MAX_BEST else None


def _acting(params: SamplingParams) -> list[str]:
    """The samplers that have an effect, in order."""
    return [] if params.mirostat else [name for name in params.samplers if _acts(name, params)]


def _acts(name: str, params: SamplingParams) -> bool:
    """Return whether a sampler has any effect with these parameters."""
    penalises = params.frequency_penalty or params.presence_penalty or params.repeat_penalty != 1.0
    acts = {
        "penalties": penalises,
        "dry": params.dry_multiplier,
        "top_n_sigma": params.top_n_sigma > 0.0,
        "top_k": params.top_k > 0,
        "top_p": params.top_p < 1.0,
        "min_p": params.min_p > 0.0,
        "typ_p": params.typical_p < 1.0,
        "xtc": params.xtc_probability > 0.0,
    }
    return bool(acts.get(name, True))


@dataclass(frozen=True, slots=True)
class _Builder:
    model: "Model"
    params: SamplingParams
    n_history: int

    def samplers(self, biases: dict[int, float]) -> list[SamplerHandle]:
        samplers = [self._logit_bias(biases)] if biases else []
        if self.params.mirostat:
            return [*samplers, llama.llama_sampler_init_temp(self._temperature), self._mirostat()]
        names = self._order()
        samplers += [self._makers[name]() for name in names if name != "adaptive_p"]
        return [*samplers, self._selector(names)]

    def filters(self, biases: dict[int, float]) -> list[SamplerHandle]:
        """All samplers but the one that chooses a token."""
        samplers = [self._logit_bias(biases)] if biases else []
        if self.params.mirostat:
            return [*samplers, llama.llama_sampler_init_temp(self._temperature)]
        names = (name for name in self.params.samplers if name != "adaptive_p")
        return samplers + [self._makers[name]() for name in names]

    def _order(self) -> tuple[str, ...]:
        """The samplers in order; greedy sampling drops trailing ones that keep the best token."""
        names = self.params.samplers
        if self.params.is_greedy and "adaptive_p" not in names:
            while names and self._keeps_the_best(names[-1]):
                names = names[:-1]
        return names

    def _keeps_the_best(self, name: str) -> bool:
        if name == "typ_p":
            return self.params.typical_p >= 1.0
        if name == "xtc":
            return self.params.xtc_probability <= 0.0
        return name in _KEEP_THE_BEST

    def _selector(self, names: tuple[str, ...]) -> SamplerHandle:
        params = self.params
        if "adaptive_p" in names:
            return llama.llama_sampler_init_adaptive_p(
                params.adaptive_target, params.adaptive_decay, self._seed
            )
        if params.is_greedy:
            return llama.llama_sampler_init_greedy()
        return llama.llama_sampler_init_dist(self._seed)

    @property
    def _makers(self) -> dict[str, Callable[[], SamplerHandle]]:
        params = self.params
        min_keep = params.min_keep
        return {
            "penalties": self._penalties,
            "dry": self._dry,
            "top_n_sigma": lambda: llama.llama_sampler_init_top_n_sigma(params.top_n_sigma),
            "top_k": lambda: llama.llama_sampler_init_top_k(params.top_k),
            "typ_p": lambda: llama.llama_sampler_init_typical(params.typical_p, min_keep),
            "top_p": lambda: llama.llama_sampler_init_top_p(params.top_p, min_keep),
            "min_p": lambda: llama.llama_sampler_init_min_p(params.min_p, min_keep),
            "xtc": lambda: llama.llama_sampler_init_xtc(
                params.xtc_probability, params.xtc_threshold, min_keep, self._seed
            ),
            "temperature": lambda: llama.llama_sampler_init_temp_ext(
                self._temperature, params.dynatemp_range, params.dynatemp_exponent
            ),
            "infill": lambda: llama.llama_sampler_init_infill(self.model.tokenizer.ptr),
        }

    @property
    def _seed(self) -> int:
        return RANDOM_SEED if self.params.seed is None else self.params.seed

    @property
    def _temperature(self) -> float:
        # Dividing by a smaller value overflows float32 and makes the probabilities NaN.
        temperature = self.params.temperature
        return temperature if temperature >= MIN_TEMPERATURE else 0.0

    def _mirostat(self) -> SamplerHandle:
        params = self.params
        if params.mirostat == 1:
            return llama.llama_sampler_init_mirostat(
                self.model.n_vocab,
                self._seed,
                params.mirostat_tau,
                params.mirostat_eta,
                _MIROSTAT_M,
            )
        return llama.llama_sampler_init_mirostat_v2(
            self._seed, params.mirostat_tau, params.mirostat_eta
        )

    def _penalties(self) -> SamplerHandle:
        params = self.params
        return llama.llama_sampler_init_penalties(
            self.model.n_vocab,
            self._window(params.repeat_last_n),
            params.repeat_penalty,
            params.frequency_penalty,
            params.presence_penalty,
        )

    def _dry(self) -> SamplerHandle:
        params = self.params
        breakers = [breaker.encode() for breaker in params.dry_sequence_breakers]
        return llama.llama_sampler_init_dry(
            self.model.tokenizer.ptr,
            params.dry_multiplier,
            params.dry_base,
            params.dry_allowed_length,
            self._window(params.dry_penalty_last_n),
            (ctypes.c_char_p * len(breakers))(*breakers),
            len(breakers),
        )

    def _window(self, last_n: int) -> int:
        return self.n_history if last_n < 0 else min(last_n, self.n_history)

    def _logit_bias(self, biases: dict[int, float]) -> SamplerHandle:
        entries = (types.llama_logit_bias * len(biases))(
            *(types.llama_logit_bias(token, bias) for token, bias in biases.items())
        )
        return llama.llama_sampler_init_logit_bias(self.model.n_vocab, len(entries), entries)


def _logit_biases(model: "Model", params: SamplingParams) -> dict[int, float]:
    """Return the request's biases, and -inf for tokens that must not be generated."""
    biases: dict[int, float] = {}
    for token, bias in params.logit_bias:
        if token >= model.n_vocab:
            raise InvalidParameterError(
                "logit_bias", f"token {token} is not in 0..{model.n_vocab - 1}"
            )
        biases[token] = biases.get(token, 0.0) + bias
    banned = model.tokenizer.suppressed_tokens
    if params.ignore_eos:
        banned = (*banned, *model.tokenizer.eog_tokens)
    return biases | dict.fromkeys(banned, -math.inf)
