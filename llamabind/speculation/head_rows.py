"""HeadRows: the tokens of the sequence in one slot that draft heads have yet to compute."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llamabind.scheduling.sequence import Sequence


class HeadRows:
    """Tokens from number `first` on, each with the model's hidden state of the token before it.

    There is one hidden state more than tokens: the last token's, for the token sampled after it.
    `owner` is the sequence of these tokens. Unknown hidden states, such as those of a prefix that
    was restored from host memory, are zeros: the heads then predict worse.
    """

    def __init__(self, width: int) -> None:
        import numpy as np

        self.first = 0
        self.tokens = array("i")
        self.owner: Sequence | None = None
        self._zeros = np.zeros((1, width), np.float32)
        self._hidden: list[NDArray[np.float32]] = [self._zeros]

    @property
    def end(self) -> int:
        """The number of the token that the model computes next."""
        return self.first + len(self.tokens)

    @property
    def hidden(self) -> NDArray[np.float32]:
        """The hidden states, shape (len(tokens) + 1, width)."""
        import numpy as np

        if len(self._hidden) > 1:
            self._hidden = [np.concatenate(self._hidden)]
        return self._hidden[0]

    def restart(self, first: int) -> None:
        """Forget all tokens; the model computes token number `first` next."""
        self.first = first
        del self.tokens[:]
        self._hidden = [self._zeros]
        self.owner = None

    def append(self, tokens: array[int], hidden: NDArray[np.float32]) -> None:
        """Add tokens that the model has computed, with their hidden states; `hidden` is copied."""
        self.tokens.extend(tokens)
        self._hidden.append(hidden.copy())

    def drop_before(self, n: int) -> None:
        """Forget the tokens before number `n`, which the heads have computed."""
        n_gone = min(n - self.first, len(self.tokens))
        if n_gone > 0:
            # A copy, so that the rest of a long prompt's rows is freed.
            self._hidden = [self.hidden[n_gone:].copy()]
            del self.tokens[:n_gone]
            self.first += n_gone

    def cut(self, n: int) -> None:
        """Forget the tokens from number `n` on; the hidden state before it is kept if known."""
        if n < self.first:
            self.restart(n)
        elif n < self.end:
            self._hidden = [self.hidden[: n - self.first + 1]]
            del self.tokens[n - self.first :]
