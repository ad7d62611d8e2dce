"""The tokens that a step sampled for one sequence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from llamabind.errors import LlamaError
    from llamabind.request import TokenLogprob


class SampledToken(msgspec.Struct, frozen=True):
    """A sampled token, with its log-probabilities if requested."""

    token: int
    logprob: TokenLogprob | None = None


@dataclass(slots=True)
class SampledRun:
    """The tokens sampled after a chunk: the accepted tokens of its draft, then one more.

    Each was sampled from the model's logits at its position, as without a draft. An `error`
    occurred after them and ends the request.
    """

    tokens: list[SampledToken] = field(default_factory=list)
    error: LlamaError | None = None

    @property
    def n_accepted(self) -> int:
        """The number of accepted draft tokens: all but the last, which is not computed yet."""
        return max(len(self.tokens) - 1, 0)
