"""SamplingParams: how a request's tokens are chosen; llama-server's names, ranges and defaults.

Pure Python: the HTTP process builds these too. Ranges follow tools/server/server-schema.cpp,
defaults `struct common_params_sampling` of common/common.h.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from llamabind.checks import (
    FLOAT32_MAX,
    INT32_MAX,
    check_bool,
    check_choice,
    check_float,
    check_int,
    check_text,
    out_of_range,
)
from llamabind.errors import InvalidParameterError

# A smaller temperature counts as 0: logits divided by it overflow float32.
MIN_TEMPERATURE: Final = 1e-6
# LLAMA_DEFAULT_SEED, which native code replaces by a random seed.
RANDOM_SEED: Final = 0xFFFFFFFF

DEFAULT_SAMPLERS: Final = (
    "penalties",
    "dry",
    "top_n_sigma",
    "top_k",
    "typ_p",
    "top_p",
    "min_p",
    "xtc",
    "temperature",
)
SAMPLER_NAMES: Final = (*DEFAULT_SAMPLERS, "infill", "adaptive_p")
DEFAULT_DRY_SEQUENCE_BREAKERS: Final = ("\n", ":", '"', "*")

TRIGGER_KINDS: Final = ("word", "pattern", "pattern_full", "token")

# Each breaker is matched against every piece of the vocabulary when a sampler is made.
MAX_DRY_SEQUENCE_BREAKERS: Final = 64
MAX_LOGIT_BIASES: Final = 65_536
MAX_INFILL_CANDIDATES: Final = 256
MAX_THINKING_TAG: Final = 256
MAX_THINKING_END_TAGS: Final = 8
MAX_BUDGET_MESSAGE: Final = 4096

_INT_RANGES: Final = {
    "top_k": (-1, INT32_MAX),  # <= 0 keeps the whole vocabulary (llama_sampler_init_top_k)
    "repeat_last_n": (-1, INT32_MAX),  # -1 is the whole context
    "dry_allowed_length": (0, INT32_MAX),
    "dry_penalty_last_n": (-1, INT32_MAX),
    "mirostat": (0, 2),
    "min_keep": (0, INT32_MAX),
    "reasoning_budget_tokens": (-1, INT32_MAX),
}
_FLOAT_RANGES: Final = {
    "temperature": (0.0, FLOAT32_MAX),
    "dynatemp_range": (-FLOAT32_MAX, FLOAT32_MAX),
    "dynatemp_exponent": (-FLOAT32_MAX, FLOAT32_MAX),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "typical_p": (-FLOAT32_MAX, FLOAT32_MAX),
    "top_n_sigma": (-FLOAT32_MAX, FLOAT32_MAX),
    "xtc_probability": (0.0, 1.0),
    "xtc_threshold": (0.0, 1.0),
    "presence_penalty": (-FLOAT32_MAX, FLOAT32_MAX),
    "frequency_penalty": (-FLOAT32_MAX, FLOAT32_MAX),
    "dry_multiplier": (-FLOAT32_MAX, FLOAT32_MAX),
    "dry_base": (1.0, FLOAT32_MAX),
    "mirostat_tau": (-FLOAT32_MAX, FLOAT32_MAX),
    "mirostat_eta": (-FLOAT32_MAX, FLOAT32_MAX),
    "adaptive_target": (-FLOAT32_MAX, 1.0),
    "adaptive_decay": (0.0, 0.99),
}
# common_sampler_init refuses a repeat penalty whose reciprocal is not finite in 32 bits.
_MIN_REPEAT_PENALTY: Final = 1.0 / FLOAT32_MAX
# Lowest and highest value by field, for the HTTP API's schema. `seed` has none there: the server
# takes any whole number.
RANGES: Final = _INT_RANGES | _FLOAT_RANGES | {"repeat_penalty": (_MIN_REPEAT_PENALTY, FLOAT32_MAX)}
_BOOLEANS: Final = ("grammar_lazy", "ignore_eos")


@dataclass(frozen=True, slots=True)
class GrammarTrigger:
    """Activates a lazy grammar (struct common_grammar_trigger of common/common.h).

    `kind` "word" is a literal text anywhere in the output, "pattern" an ECMAScript regular
    expression to search for, "pattern_full" one that must match the whole output. The grammar
    applies from the expression's first group on. "token" needs `token`, the others `value`.
    """

    kind: str
    value: str = ""
    token: int | None = None

    def __post_init__(self) -> None:
        check_choice("grammar_triggers", self.kind, TRIGGER_KINDS)
        check_text("grammar_triggers", self.value)
        if self.kind == "token":
            check_int("grammar_triggers", self.token, 0, INT32_MAX)
        elif not self.value:
            raise InvalidParameterError("grammar_triggers", f"a {self.kind} trigger needs a value")


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the tokens of one request are chosen.

    Every field is checked when the object is made: InvalidParameterError names the field. `seed`
    None (or 4294967295, LLAMA_DEFAULT_SEED) is random; the same seed repeats the answer of a
    request that runs alone. `temperature` 0 is greedy, unless a `dynatemp_range` raises it.
    `repeat_last_n` and `dry_penalty_last_n` -1 are the whole context. `samplers` are llama-server's
    names, in the order in which they run. `logit_bias` holds (token, bias) pairs; -inf bans a
    token. `grammar_prefill` is the text at the end of the prompt with which the grammar begins
    (RenderedPrompt.grammar_prefill).
    """

    seed: int | None = None
    temperature: float = 0.8
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    typical_p: float = 1.0
    top_n_sigma: float = -1.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    repeat_last_n: int = 64
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = 64
    dry_sequence_breakers: tuple[str, ...] = DEFAULT_DRY_SEQUENCE_BREAKERS
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    adaptive_target: float = -1.0
    adaptive_decay: float = 0.9
    min_keep: int = 0
    samplers: tuple[str, ...] = DEFAULT_SAMPLERS
    logit_bias: tuple[tuple[int, float], ...] = ()
    grammar: str = ""
    grammar_root: str = "root"
    grammar_lazy: bool = False
    grammar_triggers: tuple[GrammarTrigger, ...] = ()
    grammar_prefill: str = ""
    ignore_eos: bool = False
    reasoning_budget_tokens: int = -1
    reasoning_budget_message: str = ""
    reasoning_budget_start_tag: str = ""
    reasoning_budget_end_tags: tuple[str, ...] = ()
    generation_prompt: str = ""

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Raise InvalidParameterError for the first field with an invalid value."""
        for name, (low, high) in _INT_RANGES.items():
            check_int(name, getattr(self, name), low, high)
        for name, (minimum, maximum) in _FLOAT_RANGES.items():
            check_float(name, getattr(self, name), minimum, maximum)
        for name in _BOOLEANS:
            check_bool(name, getattr(self, name))
        check_float("repeat_penalty", self.repeat_penalty, _MIN_REPEAT_PENALTY, FLOAT32_MAX)
        if self.seed is not None:
            check_int("seed", self.seed, 0, RANDOM_SEED)
        _check_samplers(self.samplers)
        self._check_infill()
        _check_breakers(self.dry_sequence_breakers)
        _check_logit_bias(self.logit_bias)
        self._check_grammar()
        self._check_reasoning()

    @property
    def follows_reasoning(self) -> bool:
        """Whether a grammar or budget depends on where the reasoning, between its tags, ends."""
        has_tags = self.reasoning_budget_start_tag != "" and bool(self.reasoning_budget_end_tags)
        return has_tags and (self.grammar != "" or self.reasoning_budget_tokens >= 0)

    @property
    def is_greedy(self) -> bool:
        """Whether the most likely token is always taken."""
        # A dynamic temperature reaches from temperature - range to temperature + range.
        return (
            self.temperature + max(self.dynatemp_range, 0.0) < MIN_TEMPERATURE
            and self.mirostat == 0
            and "temperature" in self.samplers
        )

    def _check_infill(self) -> None:
        # infill compares all pairs of candidates, which takes minutes for a whole vocabulary.
        names = self.samplers
        if "infill" in names and not (
            "top_k" in names[: names.index("infill")] and 1 <= self.top_k <= MAX_INFILL_CANDIDATES
        ):
            raise InvalidParameterError(
                "samplers",
                f"infill needs top_k before it, with top_k of 1 to {MAX_INFILL_CANDIDATES}",
            )

    def _check_grammar(self) -> None:
        check_text("grammar", self.grammar)
        check_text("grammar_root", self.grammar_root)
        check_text("grammar_prefill", self.grammar_prefill)
        if not self.grammar_root:
            raise InvalidParameterError("grammar_root", "the name of the root rule is empty")
        _check_triggers(self.grammar_triggers)
        if self.grammar_lazy and self.grammar and not self.grammar_triggers:
            raise InvalidParameterError(
                "grammar_triggers", "a lazy grammar needs at least one trigger"
            )

    def _check_reasoning(self) -> None:
        check_text("generation_prompt", self.generation_prompt)
        _check_length("reasoning_budget_message", self.reasoning_budget_message, MAX_BUDGET_MESSAGE)
        _check_length(
            "reasoning_budget_start_tag", self.reasoning_budget_start_tag, MAX_THINKING_TAG
        )
        _check_end_tags(self.reasoning_budget_end_tags)


def sampler_names(names: Iterable[object]) -> tuple[str, ...]:
    """Return llama-server's canonical sampler names for names in any of its spellings.

    "top-k", "topk", "nucleus", "temp", "typ" and upper case are accepted as in
    common_sampler_types_from_names; an unknown name, which llama-server drops with a log line,
    raises InvalidParameterError.
    """
    known, unknown = known_samplers(names)
    if unknown:
        raise InvalidParameterError(
            "samplers", f"unknown sampler {unknown[0]!r}; known are {', '.join(SAMPLER_NAMES)}"
        )
    return known


def known_samplers(names: Iterable[object]) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Return the canonical names of those `names` that are samplers, and the other names."""
    known: list[str] = []
    unknown: list[object] = []
    for name in names:
        found = _SPELLINGS.get(name.lower()) if isinstance(name, str) else None
        if found is None:
            unknown.append(name)
        else:
            known.append(found)
    return tuple(known), tuple(unknown)


def _spellings() -> dict[str, str]:
    spellings = {"nucleus": "top_p", "temp": "temperature", "typ": "typ_p", "typical_p": "typ_p"}
    for name in SAMPLER_NAMES:
        for spelling in (name, name.replace("_", "-"), name.replace("_", "")):
            spellings[spelling] = name
    return spellings


_SPELLINGS: Final = _spellings()


def _check_samplers(samplers: object) -> None:
    if not isinstance(samplers, tuple):
        raise InvalidParameterError("samplers", f"must be a tuple of names, but got {samplers!r}")
    for name in samplers:
        if name not in SAMPLER_NAMES:
            raise InvalidParameterError(
                "samplers", f"unknown sampler {name!r}; known are {', '.join(SAMPLER_NAMES)}"
            )
    if len(samplers) > 2 * len(SAMPLER_NAMES):
        raise InvalidParameterError(
            "samplers", f"at most {2 * len(SAMPLER_NAMES)} samplers, but got {len(samplers)}"
        )


def _check_breakers(breakers: object) -> None:
    if not isinstance(breakers, tuple):
        raise InvalidParameterError(
            "dry_sequence_breakers", f"must be a tuple of strings, but got {breakers!r}"
        )
    if len(breakers) > MAX_DRY_SEQUENCE_BREAKERS:
        raise InvalidParameterError(
            "dry_sequence_breakers", out_of_range(0, MAX_DRY_SEQUENCE_BREAKERS, len(breakers))
        )
    for breaker in breakers:
        check_text("dry_sequence_breakers", breaker)
        if not breaker:
            raise InvalidParameterError("dry_sequence_breakers", "a sequence breaker is empty")


def _check_logit_bias(logit_bias: object) -> None:
    if not isinstance(logit_bias, tuple):
        raise InvalidParameterError("logit_bias", "must be a tuple of (token, bias) pairs")
    if len(logit_bias) > MAX_LOGIT_BIASES:
        raise InvalidParameterError(
            "logit_bias", f"at most {MAX_LOGIT_BIASES} pairs, but got {len(logit_bias)}"
        )
    for pair in logit_bias:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise InvalidParameterError("logit_bias", f"expected (token, bias), but got {pair!r}")
        token, bias = pair
        check_int("logit_bias", token, 0, INT32_MAX)
        if bias != -math.inf:  # bans the token
            check_float("logit_bias", bias, -FLOAT32_MAX, FLOAT32_MAX)


def _check_end_tags(tags: object) -> None:
    name = "reasoning_budget_end_tags"
    if not isinstance(tags, tuple) or len(tags) > MAX_THINKING_END_TAGS:
        raise InvalidParameterError(
            name, f"must be a tuple of at most {MAX_THINKING_END_TAGS} strings"
        )
    for tag in tags:
        _check_length(name, tag, MAX_THINKING_TAG)
        if not tag:
            raise InvalidParameterError(name, "an end tag is empty")


def _check_length(name: str, text: str, most: int) -> None:
    check_text(name, text)
    if len(text.encode(errors="replace")) > most:
        raise InvalidParameterError(name, f"is longer than {most} bytes")


def _check_triggers(triggers: object) -> None:
    if not isinstance(triggers, tuple) or not all(
        isinstance(trigger, GrammarTrigger) for trigger in triggers
    ):
        raise InvalidParameterError("grammar_triggers", "must be a tuple of GrammarTrigger")
