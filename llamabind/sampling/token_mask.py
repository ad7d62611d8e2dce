"""Token masks: which tokens may come next in an answer that follows a JSON schema, by llguidance.

A mask is applied to the logits before the sampler chain. It is computed outside the GIL, for all
sequences of a step at once. llguidance is imported with the first schema: most processes have none.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from llamabind.errors import GrammarError
from llamabind.sampling.reasoning_watch import ReasoningWatch
from llamabind.schema.masks.compiler import limits, reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from llguidance import LLExecutor, LLMatcher, LLTokenizer
    from numpy.typing import NDArray

    from llamabind.native.tokenizer import Tokenizer
    from llamabind.schema.masks.lark import Reasoning

_MAX_COMPILED: Final = 16
_N_THREADS: Final = max(1, min(4, (os.cpu_count() or 1) // 4))
_MANY: Final = 8
_FEW: Final = 1000

DEAD_END: Final = "no token of the vocabulary can continue what the schema allows"


@dataclass(frozen=True, slots=True)
class MaskGrammar:
    """The answers that are allowed, as grammars in llguidance's dialect of Lark.

    Where tools may be called, `call` describes an answer that calls one, up to the text that
    activates the lazy grammar of the calls. `begun` are the tokens of the answer's beginning that
    the prompt already has. `reasoning` has the tags of the reasoning that may come before.
    """

    answer: str
    call: str = ""
    begun: tuple[int, ...] = ()
    reasoning: Reasoning | None = None


class TokenMasks:
    """The masks of one vocabulary. Any thread, but each SequenceMask on one at a time."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._lock = Lock()
        self._compiled: OrderedDict[str, LLMatcher] = OrderedDict()
        self._vocabulary: LLTokenizer | None = None
        self._executor: LLExecutor | None = None

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> TokenMasks:
        """Return the masks of a vocabulary; they are made once."""
        with _of_lock:
            masks = _of.get(tokenizer)
            if masks is None:
                masks = _of[tokenizer] = cls(tokenizer)
            return masks

    def start(self, grammar: MaskGrammar) -> SequenceMask:
        """Return the mask of a new answer. Raises GrammarError for a grammar that is too large."""
        answer = self._matcher(grammar.answer)
        mask = SequenceMask(answer, self._matcher(grammar.call) if grammar.call else None)
        for token in grammar.begun:
            mask.accept(token)
        return mask

    def rows(self, masks: Sequence[SequenceMask]) -> list[np.ndarray]:
        """Return for each sequence which tokens may come next: one bool for each token."""
        import numpy as np
        from llguidance.numpy import allocate_token_bitmask

        matchers = [matcher for mask in masks for matcher in mask.matchers]
        bits = allocate_token_bitmask(len(matchers), self._tokenizer.n_tokens)
        self._fill(matchers, bits)
        rows, first = [], 0
        for mask in masks:
            n = len(mask.matchers)
            # A matcher in error, which has used up its limits, allows the end: see SequenceMask.
            mine = bits[first] if n == 1 else bits[first] | bits[first + 1]
            unpacked = np.unpackbits(mine.view(np.uint8), bitorder="little")
            rows.append(unpacked[: self._tokenizer.n_tokens].view(np.bool_))
            first += n
        return rows

    def _fill(self, matchers: list[LLMatcher], bits: NDArray[np.int32]) -> None:
        from llguidance import LLExecutor
        from llguidance.numpy import fill_next_token_bitmask, fill_next_token_bitmask_par

        if _N_THREADS == 1 or len(matchers) < _MANY:
            # Waking another thread takes longer than computing a few masks.
            for index, matcher in enumerate(matchers):
                fill_next_token_bitmask(matcher, bits, index)
            return
        if self._executor is None:
            self._executor = LLExecutor(_N_THREADS)
        numbered = [(matcher, index) for index, matcher in enumerate(matchers)]
        fill_next_token_bitmask_par(self._executor, numbered, bits)

    def _matcher(self, grammar: str) -> LLMatcher:
        from llguidance import LLMatcher, LLTokenizer

        with self._lock:
            if self._vocabulary is None:
                wrapper: Any = _Vocabulary(self._tokenizer)
                ends = list(self._tokenizer.eog_tokens)
                self._vocabulary = LLTokenizer(wrapper, eos_token=ends)
            known = self._compiled.get(grammar)
            if known is not None:
                self._compiled.move_to_end(grammar)
                return known.deep_copy()
        matcher = LLMatcher(self._vocabulary, grammar, log_level=0, limits=limits())
        if not matcher.is_error():
            matcher.compute_bitmask()  # builds most of the automaton here, not in the first step
        if matcher.is_error():
            raise GrammarError(f"the schema cannot be enforced: {reason_of(matcher.get_error())}")
        with self._lock:
            self._compiled[grammar] = matcher
            if len(self._compiled) > _MAX_COMPILED:
                self._compiled.popitem(last=False)
            return matcher.deep_copy()


class SequenceMask:
    """The mask of one text: an answer, or a call of a tool until the text excludes one of them."""

    def __init__(self, answer: LLMatcher, call: LLMatcher | None) -> None:
        self._answer: LLMatcher | None = answer
        self._call = call
        self._is_undecided = call is not None
        self._watch: ReasoningWatch | None = None
        self._has_ended_reasoning = False

    def watch_reasoning(self, reasoning: Reasoning) -> None:
        """Find the end of the reasoning in the pieces that `read` gets."""
        self._watch = ReasoningWatch(reasoning)

    @property
    def reads(self) -> bool:
        """Whether `read` is to be called for each token."""
        return self._watch is not None

    def read(self, piece: bytes) -> None:
        """Go on by the bytes of a token."""
        if self._watch is not None and self._watch.is_over(piece):
            self._watch = None
            self._has_ended_reasoning = True

    @property
    def matchers(self) -> list[LLMatcher]:
        """One matcher for each form that is still possible: an answer, a call."""
        return [matcher for matcher in (self._answer, self._call) if matcher is not None]

    @property
    def is_free(self) -> bool:
        """Whether a call has begun, which the lazy grammar constrains from here on."""
        return self._answer is None and self._call is not None and self._call.is_accepting()

    def has_become_answer(self) -> bool:
        """Return whether the last token made certain that neither a call nor reasoning follows."""
        was_undecided, self._is_undecided = self._is_undecided, len(self.matchers) == 2
        was_reasoning, self._has_ended_reasoning = self._has_ended_reasoning, False
        return (was_undecided or was_reasoning) and self._call is None

    def why_failed(self) -> str:
        """Return why the latest masks are not valid; "" if they are."""
        return next((reason_of(m.get_error()) for m in self.matchers if m.is_error()), "")

    def accept(self, token: int) -> bool:
        """Advance by a generated token; False if neither an answer nor a call allows it."""
        takers = [matcher.try_consume_tokens([token]) == 1 for matcher in self.matchers]
        if len(takers) == 2 and not all(takers):
            if not takers[0]:
                self._answer = None
            else:
                self._call = None
        return any(takers)


_of: WeakKeyDictionary[Tokenizer, TokenMasks] = WeakKeyDictionary()
_of_lock = Lock()


class _Vocabulary:
    """A vocabulary as LLTokenizer reads it. Control tokens are not text: see mask_grammar."""

    is_tokenizer_wrapper = True
    bos_token_id: int | None = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        eog = set(tokenizer.eog_tokens)
        self._tokenizer = tokenizer
        self.tokens = []
        self.special_token_ids = []
        for token in range(tokenizer.n_tokens):
            piece = tokenizer.piece(token)
            if not piece or token in eog:
                # llguidance marks special tokens with a byte that no text contains.
                piece = b"\xff" + tokenizer.piece(token, special=True)
                self.special_token_ids.append(token)
            self.tokens.append(piece)
        self.eos_token_id = min(eog, default=0)

    def __call__(self, text: Any) -> list[int]:
        raw = text.encode() if isinstance(text, str) else bytes(text)
        return self._tokenizer.encode(raw.decode(errors="replace"), add_special=False)


def apply_mask(row: np.ndarray, logits: np.ndarray) -> None:
    """Set the logits of tokens that may not come next to -inf."""
    import numpy as np

    allowed = np.flatnonzero(row)
    if len(allowed) <= _FEW:
        kept = logits[allowed]
        logits.fill(-np.inf)
        logits[allowed] = kept
        return
    # Bits of +inf for allowed tokens and of -inf for others: a boolean index is 30 times slower.
    most = row.astype(np.int32)
    most -= 1
    most <<= 31
    most |= 0x7F800000
    np.minimum(logits, most.view(np.float32), out=logits)
