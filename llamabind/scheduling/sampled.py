"""The tokens that a step sampled for one sequence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from llamabind.errors import LlamaError
    from llamabind.request import TokenLogprob


class SampledToken(msgspec.Struct, frozen=True):
    """The token that follows a chunk, with its log-probabilities where they were asked for."""

    token: int
    logprob: TokenLogprob | None = None


@dataclass(slots=True)
class SampledRun:
    """The tokens that follow a chunk: as much of its draft as is right, then one more.

    Each was sampled from the model's logits at its place, as without a draft. An `error` after them
    ends the request.
    """

    tokens: list[SampledToken] = field(default_factory=list)
    error: LlamaError | None = None

    @property
    def n_accepted(self) -> int:
        """How many tokens of the draft stay: the last token is not computed yet."""
        return max(len(self.tokens) - 1, 0)
