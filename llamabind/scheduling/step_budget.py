"""How many prompt tokens a step may compute while others wait for their next token."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence as ListOf

    from llamabind.scheduling.sequence import Sequence

_WEIGHT = 0.3
"""Of the newest measurement in the moving averages: follows a busy neighbour within some steps."""

_FIRST_LOOK = 64
"""Prompt tokens of the first step beside a stream, when nothing is known of the model's speed."""

_N_MIN = 16
"""Fewer prompt tokens in a step are not worth their share of the weights' way through memory."""

LONGEST_GAP = 0.5
LONGEST_GAP_ON_GPU = 0.08
"""Seconds that a stream may wait for a step with others' prompts."""

_DECODE_STEPS = 40
"""A gap is a stumble if it is many times the usual: on a fast device the target is shorter."""

_CROWD = 2.0
"""A gap may be so much longer where at least so many times as many wait for their first token as
for their next one: prompts get done sooner in larger steps, and with them the gaps.
"""

_DETOUR = 1.6
_GAIN = 1.3
"""A step may be so much longer than the target if prompts then come so much faster: kernels for
many tokens begin at some size (64 in ggml's CPU flash attention), just below it a step can take
longer than just above.
"""

_FEW_OF_A_TILE = 4
"""One of so many of a tile's tokens cost about as much as the tile if they are computed one by one,
as what is smaller than a tile is.
"""

_FORGET_AFTER = 16
"""Steps after which the cost of a size that was not used any more is looked at afresh: it may have
been measured beside a busy neighbour, or at the beginning of a prompt that is deep by now.
"""

_CLOCK_RESOLUTION = 1e-6

_ALONE_SECONDS = 1.5
_ALONE_MIN = 64
"""Where no stream waits a step is as large as the batch, but newcomers and cancels are heard."""


class StepBudget:
    """Keeps the gap between two tokens of running streams small while prompts are computed.

    What a token costs depends on how many share the step, so the cost is learned from measured
    steps by their size, in powers of two. Among the sizes that keep the gap, the one that gets
    prompts done soonest is taken. `max_gap` in seconds is the longest gap meant for a slow device;
    where a step without prompts takes little the target is less.

    Prompts have steps of their own, in whole tiles, from `tile` tokens on (see EngineShape), and
    always unless it `shares_steps`; then a gap is such a step and one of the streams.
    """

    def __init__(
        self,
        n_batch: int,
        max_gap: float = LONGEST_GAP,
        tile: int | None = None,
        n_ubatch: int | None = None,
        *,
        shares_steps: bool = True,
    ) -> None:
        self._n_batch = n_batch
        self._max_gap = max_gap
        self._n_ubatch = n_ubatch or n_batch
        self._shares_steps = shares_steps
        self.tile = tile
        self._decode_seconds: float | None = None
        self._seconds_per_token: dict[int, float] = {}
        self._last_seen: dict[int, int] = {}
        self._n_observed = 0

    def n_prompt_tokens(self, n_decoding: int, n_prompts: int = 1) -> int:
        """Return how many tokens of `n_prompts` prompts fit beside `n_decoding` sequences' next
        tokens.
        """
        room = self._n_batch - n_decoding
        if not self._seconds_per_token:
            return room if n_decoding == 0 else min(room, _FIRST_LOOK)
        if n_decoding == 0:
            slowest = self._cost(self._n_batch.bit_length())
            n = max(_ALONE_MIN, int(_ALONE_SECONDS / slowest))
            return min(room, _nearest(n, self._n_ubatch) or n)
        gap = self._target()
        target = gap * min(max(n_prompts / n_decoding, 1.0), _CROWD)
        n, rate = self._best(n_decoding, target)
        longer, its_rate = self._best(n_decoding, max(target, gap * _DETOUR))
        if its_rate > rate * _GAIN or (self.tile and n < self.tile <= longer):
            n = longer
        return min(room, max(n, _N_MIN))

    def observe(self, n_decoding: int, n_prompt: int, seconds: float) -> None:
        """Learn from one step."""
        seconds = max(seconds, _CLOCK_RESOLUTION)
        if n_prompt == 0:
            self._decode_seconds = _blend(self._decode_seconds, seconds)
            return
        n = n_decoding + n_prompt
        size = n.bit_length()
        self._seconds_per_token[size] = _blend(self._seconds_per_token.get(size), seconds / n)
        self._n_observed += 1
        self._last_seen[size] = self._n_observed
        for other in [
            s for s, at in self._last_seen.items() if at < self._n_observed - _FORGET_AFTER
        ]:
            del self._last_seen[other], self._seconds_per_token[other]

    def _target(self) -> float:
        if self._decode_seconds is None:
            return self._max_gap
        return max(
            2 * self._decode_seconds, min(self._max_gap, _DECODE_STEPS * self._decode_seconds)
        )

    def _best(self, n_decoding: int, seconds: float) -> tuple[int, float]:
        """Return the number of prompt tokens that are done soonest with gaps of at most `seconds`,
        and how many that is per second.
        """
        sizes = range(1, self._n_batch.bit_length() + 1)
        steps = [self._most_of_size(size, n_decoding, seconds) for size in sizes]
        # What is smaller than a tile is dearer, though it may not be measured yet.
        tiled = [step for step in steps if self.tile is not None and step[0] >= self.tile]
        return max(tiled or steps, key=lambda step: step[1])

    def _most_of_size(self, size: int, n_decoding: int, seconds: float) -> tuple[int, float]:
        """Return the most prompt tokens of a step of `size` bits, and how many that is per
        second.
        """
        least, most = 1 << (size - 1), min((1 << size) - 1, self._n_batch)
        cost, n_decoded, turn = self._cost(size), n_decoding, 0.0
        is_tiled = self.tile is not None and most >= self.tile
        if is_tiled or not self._shares_steps:
            n_decoded, turn = 0, self._decode_seconds or 0.0
        n = int((seconds - turn) / cost)
        if is_tiled and self.tile is not None:
            n = _nearest(n, self.tile) if n >= self.tile else n
            most -= most % self.tile
        n = min(n, most)
        if n < least or n <= n_decoded:
            return 0, 0.0
        return n - n_decoded, (n - n_decoded) / (n * cost + turn)

    def _cost(self, size: int) -> float:
        """Return the seconds per token of steps of `size` bits: as measured, or of the nearest that
        was, the larger of two.
        """
        known = min(self._seconds_per_token, key=lambda other: (abs(other - size), -other))
        return self._seconds_per_token[known]


def share_budget(
    budget: int, prompts: ListOf[Sequence], tile: int | None = None
) -> list[tuple[Sequence, int]]:
    """Return who of `prompts`, the oldest first, may have how many tokens of a step at most, in the
    order in which they take them from the budget.

    A prompt of thousands of tokens does not hold up those that need few, nor they it: one half is
    the oldest's, and a whole tile; in the other half shorter ones go first.
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
    """Return of how many tokens, at most `n_most`, a prompt's next chunk should be so that it has
    as few tiles as possible. 0 if there is no such chunk.

    A tile costs what it costs however many tokens are in it, and most at the end of a prompt. So
    what is left beside whole tiles comes first, unless it is so little that it is cheaper without a
    tile.
    """
    if n_remaining <= n_most:
        return n_remaining
    odd = n_remaining % tile
    if odd * _FEW_OF_A_TILE < tile:
        return (n_most + tile // _FEW_OF_A_TILE) // tile * tile
    return max(0, n_most - (n_most - odd) % tile)


def _nearest(n: int, unit: int) -> int:
    return (n + unit // 2) // unit * unit


def _blend(average: float | None, value: float) -> float:
    return value if average is None else (1 - _WEIGHT) * average + _WEIGHT * value
