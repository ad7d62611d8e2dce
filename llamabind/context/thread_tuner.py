"""ThreadTuner: finds the fastest thread count of a step from the times of earlier steps."""

from __future__ import annotations

from dataclasses import dataclass, field

_EARLY_EVERY = 6
"""Steps before the first trial of another thread count, without a calibration."""

_EXPLORE_EVERY = 24
_LONGEST_INTERVAL = 1536
"""Bounds of the steps between two trials. A trial that finds no better count doubles the interval,
one that finds a much worse count quadruples it: a trial may cost as much as two steps.
"""

_MUCH_WORSE = 1.5
_MAX_DISTANCE = 2
_WEIGHT = 0.25
_MARGIN = 0.95
"""Another count must take less than this share of the time, so that noise does not change it."""

_SLOWDOWN = 1.5
"""Two successive steps slower by this factor mean that other programs now use the cores."""

_PROMPT_TOKENS = 16
"""Steps of this many tokens are limited by arithmetic, smaller ones by memory."""


@dataclass(slots=True)
class _Regime:
    """Measurements of steps of similar size; `ratios` are times relative to the `best` count."""

    best: int
    steps_until_trial: int
    interval: int
    seconds_per_token: float | None = None
    ratios: dict[int, float] = field(default_factory=dict)
    n_trials: int = 0
    n_slow: int = 0
    trial: int | None = None
    trial_steps: int = 0


class ThreadTuner:
    """Chooses a thread count for each step size. Used only on the engine thread.

    Compute threads wait for each other at spinning barriers, so another program on one core delays
    all of them: with as many threads as cores, half a busy core can cost 40%, where one thread less
    costs 20%. The best count changes while the engine serves, so from time to time a step tries a
    neighbouring count, and a count that is clearly faster is used from then on. Small and large
    steps are tuned separately.
    """

    def __init__(self, n_max: int) -> None:
        self.counts = thread_counts(n_max)
        self._first_choice = {True: n_max, False: n_max}
        self._first_trial = {True: _EARLY_EVERY, False: _EARLY_EVERY}
        self._regimes: dict[int, _Regime] = {}

    def start_with(self, n_tokens: int, n_threads: int) -> None:
        """Begin with `n_threads`, found by calibration, for steps of about `n_tokens`."""
        is_prompt = n_tokens >= _PROMPT_TOKENS
        self._first_choice[is_prompt] = n_threads
        self._first_trial[is_prompt] = _EXPLORE_EVERY

    def choose(self, n_tokens: int) -> int:
        """Return the number of threads for a step of `n_tokens`."""
        regime = self._regime(n_tokens)
        return regime.best if regime.trial is None else regime.trial

    def is_trial(self, n_tokens: int) -> bool:
        """Return whether the next step of `n_tokens` tries another count, so it may be slower."""
        return self._regime(n_tokens).trial is not None

    def observe(self, n_tokens: int, seconds: float) -> None:
        """Report the time of a step that ran with the count that `choose` returned."""
        if len(self.counts) == 1:
            return
        regime = self._regime(n_tokens)
        cost = seconds / n_tokens
        if regime.trial is None:
            self._observe_best(regime, cost)
        elif regime.trial_steps == 0:
            # The first step includes waking the threads; only the second is measured.
            regime.trial_steps = 1
        else:
            self._end_trial(regime, regime.trial, cost)

    def _regime(self, n_tokens: int) -> _Regime:
        # By powers of two up to 64: larger steps are all mostly prompt tokens.
        key = min(n_tokens.bit_length(), 7)
        regime = self._regimes.get(key)
        if regime is None:
            is_prompt = n_tokens >= _PROMPT_TOKENS
            n_steps = self._first_trial[is_prompt]
            regime = _Regime(self._first_choice[is_prompt], n_steps, n_steps)
            self._regimes[key] = regime
        return regime

    def _observe_best(self, regime: _Regime, cost: float) -> None:
        average = regime.seconds_per_token
        is_slow = average is not None and cost > _SLOWDOWN * average
        regime.n_slow = regime.n_slow + 1 if is_slow else 0
        if not is_slow:
            regime.seconds_per_token = _blend(average, cost)
        regime.steps_until_trial -= 1
        if regime.n_slow == 2:
            regime.seconds_per_token = cost
            regime.n_slow = 0
            regime.interval = _EARLY_EVERY
            regime.ratios.clear()
            self._begin_trial(regime, prefer_fewer=True)
        elif regime.steps_until_trial <= 0:
            self._begin_trial(regime)

    def _begin_trial(self, regime: _Regime, *, prefer_fewer: bool = False) -> None:
        candidates = self._near(regime.best)
        regime.trial = candidates[0 if prefer_fewer else regime.n_trials % len(candidates)]
        regime.trial_steps = 0
        regime.n_trials += 1

    def _near(self, count: int) -> list[int]:
        """Return the counts up to two steps away, nearest first and smaller before larger.

        Two steps, because a better count may lie beyond a worse one.
        """
        here = self.counts.index(count)
        others = [at for at in range(len(self.counts)) if 0 < abs(at - here) <= _MAX_DISTANCE]
        return [self.counts[at] for at in sorted(others, key=lambda at: (abs(at - here), at))]

    def _end_trial(self, regime: _Regime, count: int, cost: float) -> None:
        assert regime.seconds_per_token is not None, "a trial follows ordinary steps"
        now = cost / regime.seconds_per_token
        is_known = count in regime.ratios
        ratio = regime.ratios[count] = _blend(regime.ratios.get(count), now)
        regime.trial = None
        if now < _MARGIN:
            # Faster this time, whatever earlier trials measured: try again soon.
            regime.interval = _EARLY_EVERY
        else:
            longer = (4 if now > _MUCH_WORSE else 2) * regime.interval
            regime.interval = min(max(longer, _EXPLORE_EVERY), _LONGEST_INTERVAL)
        regime.steps_until_trial = regime.interval
        if ratio < _MARGIN and is_known:
            regime.best = count
            regime.seconds_per_token = cost
            regime.ratios.clear()


def thread_counts(n_max: int) -> tuple[int, ...]:
    """Return the counts to try up to `n_max`: 1, 2, 3, 4, 6, 8, 12, 16, ..., n_max - 1, n_max."""
    counts = {1, n_max, max(1, n_max - 1)}
    step = 2
    while step < n_max:
        counts |= {step, step * 3 // 2}
        step *= 2
    return tuple(sorted(count for count in counts if count <= n_max))


def _blend(average: float | None, value: float) -> float:
    return value if average is None else (1 - _WEIGHT) * average + _WEIGHT * value
