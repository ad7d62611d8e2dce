"""StepBudget: how many prompt tokens a step may compute while other sequences decode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamabind.scheduling.prompt_cost import PromptCost

if TYPE_CHECKING:
    from collections.abc import Sequence as ListOf

    from llamabind.scheduling.sequence import Sequence

_WEIGHT = 0.3
"""Weight of the newest decode step in the moving average of their times."""

_FIRST_CHUNK = 64
"""Prompt tokens of the first step beside decoding sequences, when no step has been measured yet."""

_N_MIN = 16
"""Minimum prompt tokens of a step: with fewer it mostly pays for reading the weights."""

LONGEST_GAP = 0.25
LONGEST_GAP_ON_GPU = 0.08
"""Seconds by which a step with prompt tokens may delay the next token of a decoding sequence."""

_DECODE_STEPS = 40
"""The gap is also at most this many decode steps, so fast devices have shorter gaps."""

_MAX_STRETCH = 1.5
"""Allow a gap up to 1.5x longer if more sequences are prefilling than decoding: larger steps finish
prefill sooner, and after it there are no more gaps.
"""

_MAX_OVERRUN = 1.6
_MIN_SPEEDUP = 1.3
"""Allow a step below the tile's size up to 1.6x the target if it computes prompts more than 1.3x
faster. Some kernels are used only from a certain size on (64 tokens in ggml's CPU flash attention),
and a step just below that size can take longer than one just above.
"""

_BREAK_EVEN = 4
"""Computing a quarter of a tile token by token costs about as much as the whole tile; batches
smaller than a tile always run token by token.
"""

_CLOCK_RESOLUTION = 1e-6

_ALONE_SECONDS = 1.5
_ALONE_MIN = 64
"""While nothing decodes, a step takes about this many seconds but has at least this many tokens, so
that new requests and cancellations do not wait for long.
"""


class StepBudget:
    """Keeps the gap between two tokens of a decoding sequence short while prompts are computed.

    The time of a step is predicted from measured ones (PromptCost). Of the sizes that keep the gap,
    the one with the most prompt tokens per second is chosen, at most twice as large as the largest
    measured one. `max_gap` in seconds is the longest gap on a slow device; if a step without
    prompts is fast, the target is shorter.

    From `tile` tokens on a step has whole tiles of prompt tokens. Unless `mixes_tiles`, such a step
    has no decoding sequences (see EngineShape), and no step mixes the two if `shares_steps` is
    False: the gap then is a prompt step and a decode step together.
    """

    def __init__(
        self,
        n_batch: int,
        max_gap: float = LONGEST_GAP,
        tile: int | None = None,
        n_ubatch: int | None = None,
        *,
        shares_steps: bool = True,
        mixes_tiles: bool = False,
    ) -> None:
        self._n_batch = n_batch
        self._max_gap = max_gap
        self._n_ubatch = n_ubatch or n_batch
        self._shares_steps = shares_steps
        self.mixes_tiles = mixes_tiles and shares_steps
        self.tile = tile
        self._decode_seconds: float | None = None
        self._cost = PromptCost()

    def n_prompt_tokens(self, n_decoding: int, n_prompts: int = 1, context: float = 0.0) -> int:
        """Return how many prompt tokens, of `n_prompts` prompts in all, the next step may have.

        `n_decoding` sequences wait for their next token. `context` is the number of tokens before
        the prompt tokens.
        """
        limit = self._n_batch - n_decoding
        if not self._cost:
            return limit if n_decoding == 0 else min(limit, _FIRST_CHUNK)
        if n_decoding == 0:
            slowest = self._cost.per_token(self._n_batch.bit_length(), context)
            n = max(_ALONE_MIN, int(_ALONE_SECONDS / slowest))
            return min(limit, _nearest(n, self._n_ubatch) or n)
        target = self._target() * min(max(n_prompts / n_decoding, 1.0), _MAX_STRETCH)
        n, rate = self._best(n_decoding, target, context)
        if n < (self.tile or n + 1):
            longer, its_rate = self._best(n_decoding, self._target() * _MAX_OVERRUN, context)
            is_first_tile = self.tile is not None and self.tile <= longer < 2 * self.tile
            if its_rate > rate * _MIN_SPEEDUP or is_first_tile:
                n = longer
        return min(limit, max(n, _N_MIN))

    def observe(self, n_decoding: int, n_prompt: int, seconds: float, context: float = 0.0) -> None:
        """Learn from a step of `n_decoding` and `n_prompt` tokens that took `seconds`.

        `context` is the number of tokens before its prompt tokens, on average.
        """
        seconds = max(seconds, _CLOCK_RESOLUTION)
        if n_prompt == 0:
            self._decode_seconds = _blend(self._decode_seconds, seconds)
        else:
            self._cost.observe(n_decoding + n_prompt, seconds, context)

    def _target(self) -> float:
        if self._decode_seconds is None:
            return self._max_gap
        return max(
            2 * self._decode_seconds, min(self._max_gap, _DECODE_STEPS * self._decode_seconds)
        )

    def _best(self, n_decoding: int, seconds: float, context: float) -> tuple[int, float]:
        """Return the number of prompt tokens that is fastest with gaps of at most `seconds`.

        Also return its speed in prompt tokens per second.
        """
        # The cost of larger steps is a guess, so each is at most twice as large as a measured one.
        most = min(self._cost.largest + 1, self._n_batch.bit_length())
        sizes = range(1, most + 1)
        steps = [self._most_of_size(size, n_decoding, seconds, context) for size in sizes]
        # Steps smaller than a tile cost more per token, even if they have not been measured yet.
        tiled = [step for step in steps if self.tile is not None and step[0] >= self.tile]
        return max(tiled or steps, key=lambda step: step[1])

    def _most_of_size(
        self, size: int, n_decoding: int, seconds: float, context: float
    ) -> tuple[int, float]:
        """Return the most prompt tokens in a step whose token count has `size` bits.

        Also return its speed in prompt tokens per second. (0, 0.0) if no such step is short enough.
        """
        least, most = 1 << (size - 1), min((1 << size) - 1, self._n_batch)
        cost, n_beside, decode_seconds = self._cost.per_token(size, context), n_decoding, 0.0
        is_tiled = self.tile is not None and most >= self.tile
        if (is_tiled and not self.mixes_tiles) or not self._shares_steps:
            n_beside, decode_seconds = 0, self._decode_seconds or 0.0
        n = min(int((seconds - decode_seconds) / cost), most) - n_beside
        if is_tiled and self.tile is not None and n >= self.tile:
            n -= n % self.tile
        if n <= 0 or n + n_beside < least:
            return 0, 0.0
        return n, n / ((n + n_beside) * cost + decode_seconds)


def share_budget(
    budget: int, prompts: ListOf[Sequence], tile: int | None = None
) -> list[tuple[Sequence, int]]:
    """Return the most tokens for each of `prompts`, in the order in which they use up the budget.

    `prompts` are ordered by age, the oldest first. A long prompt and short ones do not delay each
    other: the oldest gets at least half of the budget and at least one tile; the others share the
    rest, the shortest first.
    """
    if not prompts:
        return []
    oldest, *others = prompts
    shorter = [other for other in others if other.n_remaining < oldest.n_remaining]
    longer = [other for other in others if other.n_remaining >= oldest.n_remaining]
    shorter.sort(key=lambda other: other.n_remaining)
    n_shorter = sum(other.n_remaining for other in shorter)
    n_oldest = max(budget - n_shorter, (budget + 1) // 2, min(budget, tile or 0))
    return [(oldest, n_oldest), *((other, budget) for other in [*shorter, *longer])]


def whole_tiles(n_most: int, n_remaining: int, tile: int) -> int:
    """Return the size of a prompt's next chunk, at most `n_most`, so that it uses the fewest tiles.

    0 if there is no such chunk. A partly filled tile costs as much as a full one, and tiles at the
    end of a prompt cost most. So the tokens that do not fill a tile are computed first, unless they
    are less than a quarter of a tile: then they are cheaper at the end, token by token.
    """
    if n_remaining <= n_most:
        return n_remaining
    odd = n_remaining % tile
    if odd * _BREAK_EVEN < tile:
        return (n_most + tile // _BREAK_EVEN) // tile * tile
    return max(0, n_most - (n_most - odd) % tile)


def _nearest(n: int, unit: int) -> int:
    return (n + unit // 2) // unit * unit


def _blend(average: float | None, value: float) -> float:
    return value if average is None else (1 - _WEIGHT) * average + _WEIGHT * value
