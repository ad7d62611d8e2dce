"""How many threads a step should compute with, learned from the steps' own times."""

from __future__ import annotations

from dataclasses import dataclass, field

_EARLY_EVERY = 6
"""Steps to the first look at another thread count where nothing was measured beforehand."""

_EXPLORE_EVERY = 24
_LONGEST_PATIENCE = 1536
"""Steps between two looks. One that finds nothing better makes them twice as many, one that finds
something much worse four times: a look may cost as much as two steps.
"""

_MUCH_WORSE = 1.5
_FARTHEST = 2
_WEIGHT = 0.25
_MARGIN = 0.95
"""Another count must be this much better: noise must not make it swing."""

_SLOWDOWN = 1.5
"""Two steps in a row this much slower than before mean that somebody else wants the cores."""

_PROMPT_TOKENS = 16
"""Steps of so many tokens are limited by arithmetic, smaller ones by memory."""


@dataclass(slots=True)
class _Regime:
    """What is known of steps of about one size."""

    best: int
    steps_until_look: int
    patience: int
    seconds_per_token: float | None = None
    ratios: dict[int, float] = field(default_factory=dict)
    looks: int = 0
    n_slow: int = 0
    trial: int | None = None
    trial_steps: int = 0


class ThreadTuner:
    """Chooses a thread count per step size. Used only on the engine thread.

    Compute threads meet at spinning barriers, so one core that a neighbour uses holds all of them
    up: with as many threads as cores, half a busy core can cost 40% where one thread less costs
    20%. What is best changes while we serve. So now and then a step is computed with a neighbouring
    count; the count that is clearly faster is used from then on. Small and large steps are tuned
    apart.
    """

    def __init__(self, n_max: int) -> None:
        self.counts = thread_counts(n_max)
        self._first_choice = {True: n_max, False: n_max}
        self._first_look = {True: _EARLY_EVERY, False: _EARLY_EVERY}
        self._regimes: dict[int, _Regime] = {}

    def start_with(self, n_tokens: int, n_threads: int) -> None:
        """Begin with `n_threads` for steps like one of `n_tokens`, as measured beforehand."""
        is_prompt = n_tokens >= _PROMPT_TOKENS
        self._first_choice[is_prompt] = n_threads
        self._first_look[is_prompt] = _EXPLORE_EVERY

    def choose(self, n_tokens: int) -> int:
        """Return the threads for a step of `n_tokens`."""
        regime = self._regime(n_tokens)
        return regime.best if regime.trial is None else regime.trial

    def is_trial(self, n_tokens: int) -> bool:
        """Whether a step of `n_tokens` is computed to learn, maybe slower than it could be."""
        return self._regime(n_tokens).trial is not None

    def observe(self, n_tokens: int, seconds: float) -> None:
        """Learn from the step that was computed with what `choose` said."""
        if len(self.counts) == 1:
            return
        regime = self._regime(n_tokens)
        cost = seconds / n_tokens
        if regime.trial is None:
            self._observe_best(regime, cost)
        elif regime.trial_steps == 0:
            # The first step wakes sleeping threads; the second tells.
            regime.trial_steps = 1
        else:
            self._end_trial(regime, regime.trial, cost)

    def _regime(self, n_tokens: int) -> _Regime:
        # By powers of two up to 64: from there on all is prompt.
        key = min(n_tokens.bit_length(), 7)
        regime = self._regimes.get(key)
        if regime is None:
            is_prompt = n_tokens >= _PROMPT_TOKENS
            n_steps = self._first_look[is_prompt]
            regime = _Regime(self._first_choice[is_prompt], n_steps, n_steps)
            self._regimes[key] = regime
        return regime

    def _observe_best(self, regime: _Regime, cost: float) -> None:
        average = regime.seconds_per_token
        is_slow = average is not None and cost > _SLOWDOWN * average
        regime.n_slow = regime.n_slow + 1 if is_slow else 0
        if not is_slow:
            regime.seconds_per_token = _blend(average, cost)
        regime.steps_until_look -= 1
        if regime.n_slow == 2:
            regime.seconds_per_token = cost
            regime.n_slow = 0
            regime.patience = _EARLY_EVERY
            regime.ratios.clear()
            self._begin_trial(regime, prefer_fewer=True)
        elif regime.steps_until_look <= 0:
            self._begin_trial(regime)

    def _begin_trial(self, regime: _Regime, *, prefer_fewer: bool = False) -> None:
        candidates = self._near(regime.best)
        regime.trial = candidates[0 if prefer_fewer else regime.looks % len(candidates)]
        regime.trial_steps = 0
        regime.looks += 1

    def _near(self, count: int) -> list[int]:
        """Return the counts that are up to two away, the nearest and smaller ones first: what is
        best may lie behind one that is no better.
        """
        here = self.counts.index(count)
        others = [at for at in range(len(self.counts)) if 0 < abs(at - here) <= _FARTHEST]
        return [self.counts[at] for at in sorted(others, key=lambda at: (abs(at - here), at))]

    def _end_trial(self, regime: _Regime, count: int, cost: float) -> None:
        assert regime.seconds_per_token is not None, "a trial follows ordinary steps"
        now = cost / regime.seconds_per_token
        is_known = count in regime.ratios
        ratio = regime.ratios[count] = _blend(regime.ratios.get(count), now)
        regime.trial = None
        if now < _MARGIN:
            # Promising, whatever it was before: look again soon.
            regime.patience = _EARLY_EVERY
        else:
            longer = (4 if now > _MUCH_WORSE else 2) * regime.patience
            regime.patience = min(max(longer, _EXPLORE_EVERY), _LONGEST_PATIENCE)
        regime.steps_until_look = regime.patience
        if ratio < _MARGIN and is_known:
            regime.best = count
            regime.seconds_per_token = cost
            regime.ratios.clear()


def thread_counts(n_max: int) -> tuple[int, ...]:
    """Return the counts worth trying up to `n_max`: 1, 2, 3, 4, 6, 8, 12, 16, ..., one less than
    all, and all.
    """
    counts = {1, n_max, max(1, n_max - 1)}
    step = 2
    while step < n_max:
        counts |= {step, step * 3 // 2}
        step *= 2
    return tuple(sorted(count for count in counts if count <= n_max))


def _blend(average: float | None, value: float) -> float:
    return value if average is None else (1 - _WEIGHT) * average + _WEIGHT * value
