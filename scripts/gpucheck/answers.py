"""Greedy answers of two servers, compared token by token.

A GPU adds in another order than a CPU and rounds some values to fewer bits, so its
log-probabilities
differ slightly. Of two tokens with about equal probability each side may then choose another, and
after the first different token the two texts cannot be compared. So this compares the answers up to
there and checks two things: each common token has about the same probability on both sides, and the
first two different tokens were about equally probable on both sides.
"""

import json
import math
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from bench.load import Endpoint

TOLERANCE = 0.2
"""The largest allowed difference of a token's log-probabilities, in nats.

Both sides round a product's inputs to 8 bits for quantised weights, and a GPU rounds attention's to
16-bit floats. A wrong kernel, a wrong position or a missing layer shifts log-probabilities by whole
nats.
"""

N_TOKENS = 48
_TOP = 20
_TIMEOUT = 120.0

PROMPTS = (
    "What is the capital of France?",
    "What is the capital of Japan? Answer in one sentence.",
    "Count from one to ten.",
    "What is 4 + 5?",
    "Who are you?",
    "Tell me a story.",
    "What is the opposite of cold?",
    "Say hello to Ada, whose favourite colour is green, and ask her where she lives. " * 12,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A token of an answer; `likeliest` has the log-probabilities of the top tokens at its
    position.
    """

    text: str
    logprob: float
    likeliest: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of comparing two answers; `fault` describes a difference too large for
    rounding.
    """

    n_same: int
    difference: float = 0.0  # largest difference of a common token's log-probabilities
    near_tie: str | None = None  # the first different tokens
    fault: str | None = None


def compare(
    ours: Sequence[Token], theirs: Sequence[Token], tolerance: float = TOLERANCE
) -> Comparison:
    """Compare an answer with the reference, the second argument."""
    difference = 0.0
    for place, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        if a.text != b.text:
            return _parting(place, difference, (a, b), tolerance)
        # Every comparison with NaN is false, so `not <=` finds it.
        apart = abs(a.logprob - b.logprob)
        if not apart <= tolerance:
            return Comparison(
                place,
                difference,
                fault=f"token {place + 1}, {a.text!r}, has log-probability {a.logprob:.3f}, the "
                f"reference {b.logprob:.3f}: {apart:.3f} apart, more than {tolerance}",
            )
        difference = max(difference, apart)
    n_same = min(len(ours), len(theirs))
    if len(ours) != len(theirs):
        return _early_end(n_same, difference, max(ours, theirs, key=len)[n_same], tolerance)
    return Comparison(n_same, difference)


def _parting(
    place: int, difference: float, tokens: tuple[Token, Token], tolerance: float
) -> Comparison:
    """Compare two different tokens at one position: a near tie if both are about equally probable.

    Each log-probability may differ by the tolerance, in opposite directions.
    """
    a, b = tokens
    margins = (
        a.logprob - a.likeliest.get(b.text, -math.inf),
        b.logprob - b.likeliest.get(a.text, -math.inf),
    )
    text = (
        f"token {place + 1} is {a.text!r}, of the reference {b.text!r}; more likely than the other "
        f"one by {margins[0]:.3f} and {margins[1]:.3f}"
    )
    if all(margin <= 2 * tolerance for margin in margins):
        return Comparison(place, difference, near_tie=text)
    return Comparison(place, difference, fault=f"{text}: more than {2 * tolerance}")


def _early_end(place: int, difference: float, longer: Token, tolerance: float) -> Comparison:
    """Compare answers of which one ended earlier; its end token is not part of the answer."""
    others = [value for text, value in longer.likeliest.items() if text != longer.text]
    margin = longer.logprob - max(others, default=-math.inf)
    text = (
        f"one answer ends after {place} tokens, the other goes on with {longer.text!r}, which is "
        f"more likely than the next one by {margin:.3f}"
    )
    if margin <= 2 * tolerance:
        return Comparison(place, difference, near_tie=text)
    return Comparison(place, difference, fault=f"{text}: more than {2 * tolerance}")


def ask_alone(endpoint: Endpoint, prompts: Sequence[str] = PROMPTS) -> list[list[Token]]:
    """Send the requests one after the other, so that every step has one sequence."""
    return [_ask(endpoint, prompt) for prompt in prompts]


def ask_together(endpoint: Endpoint, prompts: Sequence[str] = PROMPTS) -> list[list[Token]]:
    """Send all requests at once: other kernels compute steps of several sequences."""
    with ThreadPoolExecutor(len(prompts)) as pool:
        return list(pool.map(lambda prompt: _ask(endpoint, prompt), prompts))


def _ask(endpoint: Endpoint, prompt: str) -> list[Token]:
    body = {
        "model": endpoint.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": N_TOKENS,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": _TOP,
    }
    data = json.dumps(body).encode()
    request = urllib.request.Request(endpoint.url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
        return list(read_tokens(json.loads(response.read())))


def read_tokens(document: dict[str, Any]) -> Iterator[Token]:
    """The tokens of a chat completion with log-probabilities."""
    for entry in document["choices"][0]["logprobs"]["content"]:
        likeliest = {other["token"]: other["logprob"] for other in entry["top_logprobs"]}
        yield Token(entry["token"], entry["logprob"], likeliest)
