"""A drafter for the fake model that is wrong at the lengths that a test chooses."""

from __future__ import annotations

from collections.abc import Callable

from llamabind.scheduling.sequence import Sequence
from tests.support.fake_runner import N_VOCAB, next_token


class FakeDrafter:
    """Drafts the fake model's next tokens, a wrong one at text lengths where `is_wrong`."""

    def __init__(
        self,
        is_wrong: Callable[[int], bool] = lambda n: False,
        model: Callable[[list[int]], int] = next_token,
        *,
        is_free: bool = False,
    ) -> None:
        self.is_free = is_free
        self.seconds_per_token = 0.0
        self.is_wrong = is_wrong
        self.wanted: list[list[int]] = []
        self.known: set[Sequence] = set()
        self._model = model

    def draft(self, wanted: list[tuple[Sequence, int]]) -> list[list[int]]:
        self.wanted.append([n for _, n in wanted])
        return [self._draft(sequence, n) for sequence, n in wanted]

    def forget(self, sequence: Sequence) -> None:
        self.known.discard(sequence)

    def close(self) -> None:
        self.known.clear()

    def _draft(self, sequence: Sequence, n: int) -> list[int]:
        self.known.add(sequence)
        tokens = sequence.tokens.tolist()
        for _ in range(n):
            token = self._model(tokens)
            tokens.append((token + 1) % N_VOCAB if self.is_wrong(len(tokens)) else token)
        return tokens[len(sequence.tokens) :]
