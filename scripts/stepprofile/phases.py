"""PhaseClock: CPU and wall time of the phases of a step, each without the phases inside it."""

import functools
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from llamabind.engine.engine import Engine

PHASES = ("decode", "sampling", "masks", "scheduling", "output", "other")


class PhaseClock:
    """Seconds of each phase on one thread: `cpu` of the thread, `wall` of the clock.

    Reading both clocks takes about 1 us, so only functions that run once for each step are timed.
    """

    def __init__(self) -> None:
        self.cpu: dict[str, float] = defaultdict(float)
        self.wall: dict[str, float] = defaultdict(float)
        self._phase: str | None = None
        self._since = (0.0, 0.0)

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` with its time added to `phase`."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            outer = self._enter(phase)
            try:
                return function(*args, **kwargs)
            finally:
                self._enter(outer)

        return call

    def watch(self, owner: Any, name: str, phase: str) -> None:
        """Replace the method or function `name` of `owner` by a timed one."""
        setattr(owner, name, self.timed(phase, getattr(owner, name)))

    def _enter(self, phase: str | None) -> str | None:
        """Add the time since the last call to the phase that ends now; return that phase."""
        now = (time.thread_time(), time.perf_counter())
        ended = self._phase
        if ended is not None:
            self.cpu[ended] += now[0] - self._since[0]
            self.wall[ended] += now[1] - self._since[1]
        self._phase, self._since = phase, now
        return ended


def watch_engine(clock: PhaseClock, engine: Engine) -> None:
    """Time the phases of this engine's steps."""
    scheduler, runner = engine._scheduler, engine._model_runner
    clock.watch(engine, "step", "other")
    clock.watch(engine, "_run", "output")
    clock.watch(engine._stats, "add_step", "output")
    for name in ("schedule", "commit", "confirm_saved"):
        clock.watch(scheduler, name, "scheduling")
    clock.watch(runner, "run", "other")
    clock.watch(runner, "_fill_batch", "scheduling")
    clock.watch(runner, "_decode", "decode")
    samplers = runner._samplers
    clock.watch(samplers, "sample", "sampling")
    for name in ("compute", "apply", "accept"):
        clock.watch(samplers._masks, name, "masks")
