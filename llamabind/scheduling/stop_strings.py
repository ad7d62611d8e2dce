"""Finds stop strings in a text that arrives piece by piece."""

from __future__ import annotations


class StopMatcher:
    """Passes text on, but holds back an end that may turn out to begin a stop string.

    With the stop string "###", the pieces "a#", "#b", "##", "#c" come out as "a", "##b", "" and
    then the match: "#" and "##" wait until the next piece decides. Text after a match is dropped.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""
        self.matched: str | None = None
        """The stop string that was found, if any."""

    def feed(self, text: str) -> str:
        """Return the text that can be shown now; after a match always an empty string."""
        if self.matched is not None:
            return ""
        if not self._stops:
            return text
        text = self._held + text
        position, stop = self._first_match(text)
        if stop is not None:
            self.matched, self._held = stop, ""
            return text[:position]
        n_held = self._possible_start(text)
        self._held = text[len(text) - n_held :]
        return text[: len(text) - n_held]

    def finish(self) -> str:
        """Return what was held back: no stop string can follow any more."""
        held, self._held = self._held, ""
        return held

    def _first_match(self, text: str) -> tuple[int, str | None]:
        """Return the earliest match; of two at one place the longer, so that no tail of it is
        shown.
        """
        found = [(text.find(stop), -len(stop), stop) for stop in self._stops if stop in text]
        if not found:
            return -1, None
        position, _, stop = min(found)
        return position, stop

    def _possible_start(self, text: str) -> int:
        """Return the length of the longest end of `text` that begins a stop string."""
        longest = 0
        for stop in self._stops:
            for n in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:n]):
                    longest = n
                    break
        return longest
