"""The rule for n_ctx where no setting names it: as much of the training context as memory allows.

Cache and buffers may take half of the memory that is free beside the weights, on each device, so
that another model can be loaded too.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from server.protocol.loading import DeviceMemory, HostBudget

FLOOR: Final = 8192
"""A smaller context is chosen only if this one does not fit into all of the free memory."""

SMALLEST: Final = 4096
"""llama-server's --fit-ctx: the smallest context that is ever chosen."""

_STEP: Final = 1024
_MAX_TRIES: Final = 4


def slack(
    devices: Iterable[DeviceMemory],
    host_budget: HostBudget,
    margins: Mapping[str, int] | None = None,
) -> float:
    """Bytes by which cache and buffers stay below the rule's limit on the tightest device; negative
    above it. `margins` are bytes that stay free on GPUs, by name.
    """
    lowest = math.inf
    for device in devices:
        if device.kind == "host":
            available = host_budget.available(device.free_bytes)
        elif device.free_bytes is None:
            continue
        else:
            available = device.free_bytes - (margins or {}).get(device.name, 0)
        allowed = (available - device.model_bytes) / 2
        lowest = min(lowest, allowed - device.context_bytes - device.compute_bytes)
    return lowest


def choose_context(n_ctx_train: int, slack_at: Callable[[int], float]) -> int:
    """The number of tokens; `slack_at` gives the slack for one. Memory grows about linearly."""
    high, low = n_ctx_train, min(FLOOR, n_ctx_train)
    if high <= low:
        return low
    above = slack_at(high)
    if above >= 0:
        return high
    below = slack_at(low)
    for _ in range(_MAX_TRIES):
        if below <= 0 or high - low <= _STEP:
            break
        between = low + (high - low) * below / (below - above)
        tokens = max(low + 1, int(between) // _STEP * _STEP)
        if tokens >= high:
            break
        now = slack_at(tokens)
        if now >= 0:
            return tokens
        high, above = tokens, now
    return low
