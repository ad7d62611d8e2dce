"""StopMatcher: finds stop strings in a text that arrives in pieces."""

from __future__ import annotations


class StopMatcher:
    """Passes text on, but holds back an end that may be the beginning of a stop string.

    With the stop string "###", the pieces "a#", "#b", "##", "#c" come out as "a", "##b", "" and
    then the match: "#" and "##" are held back until the next piece. Text after a match is dropped.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""
        self.matched: str | None = None
        """The stop string that was found, if any."""

    def feed(self, text: str) -> str:
        """Return the text that is certainly not part of a stop string; "" after a match."""
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
        """Return the held-back text: at the end of the answer it is no stop string any more."""
        held, self._held = self._held, ""
        return held

    def _first_match(self, text: str) -> tuple[int, str | None]:
        """Return the position and the stop string of the earliest match.

        Of two at the same position the longer one counts.
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
