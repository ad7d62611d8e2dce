"""StopMatcher: finds stop strings in a text that arrives in pieces."""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import Final

# A client's requests repeat their stop strings; each automaton takes about 200 bytes a character.
_KEPT_AUTOMATONS: Final = 8


class StopMatcher:
    """Passes text on, but holds back an end that may be the beginning of a stop string.

    With the stop string "###", the pieces "a#", "#b", "##", "#c" come out as "a", "##b", "" and
    then the match: "#" and "##" are held back until the next piece. Text after a match is dropped.
    The time for a piece grows with its length, not with the number of stop strings.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._automaton = _automaton(stops) if stops else None
        self._state = 0
        self._held = ""
        self.matched: str | None = None
        """The stop string that was found, if any."""
        self.rest = ""
        """The text of the last piece that follows the match."""

    def feed(self, text: str) -> str:
        """Return the text that is certainly not part of a stop string; "" after a match.

        Of several stop strings in one piece the one that begins first counts, and of those that
        begin at the same character the longest.
        """
        if self.matched is not None:
            return ""
        automaton = self._automaton
        if automaton is None or (self._state == 0 and automaton.begins.isdisjoint(text)):
            return text
        text = self._held + text
        match = self._first_match(automaton, text)
        if match is not None:
            start, length = match
            self.matched, self._held = text[start : start + length], ""
            self.rest = text[start + length :]
            return text[:start]
        n_held = automaton.depths[self._state]
        self._held = text[len(text) - n_held :]
        return text[: len(text) - n_held]

    def finish(self) -> str:
        """Return the held-back text: at the end of the answer it cannot become a stop string."""
        held, self._held = self._held, ""
        return held

    def _first_match(self, automaton: _Automaton, text: str) -> tuple[int, int] | None:
        """Return the start and the length of the match in `text`, whose beginning was held back."""
        best: tuple[int, int] | None = None
        state = self._state
        for index in range(len(self._held), len(text)):
            state = automaton.next(state, text[index])
            if length := automaton.matches[state]:
                # Compare by start, then by length.
                found = (index + 1 - length, -length)
                best = found if best is None else min(best, found)
        self._state = state
        return None if best is None else (best[0], -best[1])


class _Automaton:
    """The automaton of Aho and Corasick: states are the beginnings of stop strings, 0 is "".

    `depths` are their lengths, `matches` the length of the longest stop string that ends there.
    `begins` are the characters that lead from the state 0 to another one.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._edges: list[dict[str, int]] = [{}]
        self._fallbacks = [0]
        self.depths = [0]
        self.matches = [0]
        for stop in stops:
            self._add(stop)
        self._link()
        self.begins = frozenset(self._edges[0])

    def next(self, state: int, character: str) -> int:
        """Return the state after one more character."""
        while (found := self._edges[state].get(character)) is None:
            if state == 0:
                return 0
            state = self._fallbacks[state]
        return found

    def _add(self, stop: str) -> None:
        state = 0
        for depth, character in enumerate(stop, 1):
            found = self._edges[state].get(character)
            if found is None:
                found = self._edges[state][character] = len(self.depths)
                self._edges.append({})
                self._fallbacks.append(0)
                self.depths.append(depth)
                self.matches.append(0)
            state = found
        self.matches[state] = self.depths[state]

    def _link(self) -> None:
        """Set each fallback: the longest other state with which the text of a state ends."""
        pending = deque(self._edges[0].values())
        while pending:
            state = pending.popleft()
            for character, follower in self._edges[state].items():
                self._fallbacks[follower] = self.next(self._fallbacks[state], character)
                self.matches[follower] = (
                    self.matches[follower] or self.matches[self._fallbacks[follower]]
                )
                pending.append(follower)


def prepare_stops(stops: tuple[str, ...]) -> None:
    """Do the work for which a StopMatcher of these stop strings would take long. Any thread.

    Stop strings of 32 kB take tens of milliseconds; the engine's thread should not wait for that.
    """
    if stops:
        _automaton(stops)


@lru_cache(maxsize=_KEPT_AUTOMATONS)
def _automaton(stops: tuple[str, ...]) -> _Automaton:
    return _Automaton(stops)
