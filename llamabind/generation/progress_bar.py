"""ProgressBar: an optional tqdm bar for a batch of answers."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from llamabind.errors import InvalidParameterError


class ProgressBar:
    """A bar that counts finished answers; it does nothing unless `is_shown`."""

    def __init__(self, total: int, *, is_shown: bool) -> None:
        """Raises InvalidParameterError if `is_shown` and tqdm is not installed."""
        self._bar: Any = None
        self._n = 0
        if is_shown:
            self._bar = _tqdm()(total=total, unit="answer")

    def show(self, n_finished: int) -> None:
        """Move the bar to `n_finished` answers."""
        if self._bar is not None and n_finished > self._n:
            self._bar.update(n_finished - self._n)
            self._n = n_finished

    def close(self) -> None:
        """Stop updating the bar; it stays on the screen."""
        if self._bar is not None:
            self._bar.close()


def _tqdm() -> Any:
    try:
        return import_module("tqdm.auto").tqdm
    except ImportError:
        raise InvalidParameterError(
            "progress", "needs tqdm: pip install 'llamabind[progress]'"
        ) from None
