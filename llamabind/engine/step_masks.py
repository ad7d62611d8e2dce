"""StepMasks: the token masks of the requests whose answers follow a JSON schema."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from llamabind.errors import GrammarError
from llamabind.sampling.token_mask import DEAD_END, TokenMasks, apply_mask

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from llamabind.errors import LlamaError
    from llamabind.native.tokenizer import Tokenizer
    from llamabind.request import GenerationRequest
    from llamabind.sampling.params import SamplingParams
    from llamabind.sampling.token_mask import SequenceMask

_LATE: Final = (
    "the sampler forced a token, such as an end tag of the reasoning, that the schema does not "
    "allow"
)


class StepMasks:
    """Only `add` may be called from any thread."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._masks: dict[str, SequenceMask] = {}
        self._rows: dict[str, np.ndarray] = {}

    def add(self, request: GenerationRequest) -> None:
        """Start the mask of a request, if it has one. Raises GrammarError."""
        if request.mask is not None:
            mask = TokenMasks.of(self._tokenizer).start(request.mask)
            reasoning = request.mask.reasoning
            has_budget = request.sampling.reasoning_budget_tokens >= 0
            if reasoning and has_budget and not reasoning.between:
                mask.watch_reasoning(reasoning)
            self._masks[request.request_id] = mask

    @cached_property
    def _ends(self) -> np.ndarray:
        """Whether each token ends a generation; few models get requests with masks."""
        import numpy as np

        ends = np.zeros(self._tokenizer.n_tokens, dtype=np.bool_)
        ends[list(self._tokenizer.eog_tokens)] = True
        return ends

    def release(self, request_id: str) -> None:
        """Forget a request; unknown ids are ignored."""
        self._masks.pop(request_id, None)
        self._rows.pop(request_id, None)

    def has(self, request_id: str) -> bool:
        """Whether the next token of a request is masked."""
        return request_id in self._masks

    def compute(self, request_ids: Iterable[str]) -> None:
        """Compute the masks of the next tokens of these requests, without the GIL."""
        masks = {one: self._masks[one] for one in request_ids if one in self._masks}
        if masks:
            rows = TokenMasks.of(self._tokenizer).rows(list(masks.values()))
            self._rows = dict(zip(masks, rows, strict=True))

    def apply(
        self, request_id: str, logits: np.ndarray, *, must_continue: bool
    ) -> int | LlamaError | None:
        """Mask logits. Returns a token if it must be the next one: the end of a complete answer,
        which neither `must_continue` nor ignore_eos can prevent. GrammarError if there is none.
        """
        import numpy as np

        row = self._rows[request_id]
        failure = self._masks[request_id].why_failed()
        ends = row & self._ends
        n_ends, n_allowed = np.count_nonzero(ends), np.count_nonzero(row)
        if failure or n_allowed == 0:
            return GrammarError(failure or DEAD_END)
        if n_allowed == n_ends:
            allowed = np.flatnonzero(ends)
            return int(allowed[np.argmax(logits[allowed])])
        apply_mask(row & ~self._ends if must_continue else row, logits)
        return None

    def accept(self, request_id: str, token: int) -> LlamaError | None:
        """Advance the mask by a generated token; return an error if it does not allow the token."""
        mask = self._masks[request_id]
        if self._ends[token]:
            return None
        if not mask.accept(token):
            return GrammarError(_LATE)
        if mask.reads:
            mask.read(self._tokenizer.piece(token, special=True))
        if mask.is_free:
            self.release(request_id)
        return None

    def explain(self, error: LlamaError, logits: np.ndarray) -> LlamaError:
        """Return the error of a request whose masked `logits` no token could be sampled from.

        If the masks are valid, logit_bias excludes every token that the schema allows.
        """
        import numpy as np

        is_sound = np.isfinite(logits).any() and not np.isnan(logits).any()
        return GrammarError(DEAD_END) if is_sound else error

    def has_become_answer(self, request_id: str) -> bool:
        """True once: when it is certain that a request's answer calls no tool, or when its
        reasoning is over.
        """
        mask = self._masks.get(request_id)
        return mask is not None and mask.has_become_answer()


def without_triggers(sampling: SamplingParams) -> SamplingParams:
    """Return the parameters for an answer in which no call and no reasoning can begin."""
    return replace(
        sampling, grammar="", grammar_lazy=False, grammar_triggers=(), reasoning_budget_tokens=-1
    )
