"""LogprobAlignment: log-probabilities of tokens wait for the text that their tokens came out as."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from llamabind.chat.output_parser import MessageDelta
from llamabind.scheduling.detokenizer import Detokenizer
from server.protocol.messages import LogprobEntry


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An entry, and the characters of the answer that its token has a part in."""

    entry: LogprobEntry
    start: int
    end: int


class LogprobAlignment:
    """Of one answer; positions are those of characters in what the model wrote, markup included.

    Text is held back while it may begin a stop string or a tag, and then its tokens' entries are
    too: they come with the text, or not at all where a stop string was in its place.
    """

    def __init__(self) -> None:
        self._detokenizer = Detokenizer()
        self._waiting: deque[_Waiting] = deque()
        self._n_decoded = 0
        # Text of the engine whose kind is not known yet, and where it begins.
        self._text = ""
        self._text_start = 0

    def put(self, entry: LogprobEntry, piece: bytes) -> None:
        """Keep an entry; its token adds `piece` to the text, maybe a part of a character only."""
        start = self._n_decoded
        self._n_decoded += len(self._detokenizer.feed(piece))
        self._waiting.append(_Waiting(entry, start, max(self._n_decoded, start + 1)))

    def say(self, text: str) -> None:
        """The engine has let go of this text."""
        self._text += text

    def take(self, deltas: Sequence[MessageDelta]) -> list[LogprobEntry]:
        """The entries of the text that came out as `deltas`, and of the markup before it."""
        spans, end = _content_spans(self._text, deltas)
        begin = self._text_start
        self._text, self._text_start = self._text[end:], begin + end
        contents = [(begin + first, begin + last) for first, last in spans]
        return self._release(self._text_start, contents)

    def take_rest(self, *, is_cut: bool) -> list[LogprobEntry]:
        """At the end of the answer all that are left; with `is_cut` those of shown text only."""
        n_shown = self._text_start + len(self._text)
        return self._release(n_shown if is_cut else self._n_decoded + 1, [])

    def _release(self, end: int, contents: Sequence[tuple[int, int]]) -> list[LogprobEntry]:
        """The entries of tokens that begin before `end`."""
        released = []
        while self._waiting and self._waiting[0].start < end:
            one = self._waiting.popleft()
            is_content = any(one.start < last and first < one.end for first, last in contents)
            released.append(one.entry if is_content else replace(one.entry, is_content=False))
        return released


def _content_spans(text: str, deltas: Sequence[MessageDelta]) -> tuple[list[tuple[int, int]], int]:
    """Where in `text` contents are, and where the last of the deltas ends.

    Deltas have the words of the text but not its tags; behind the last one is what is held back,
    so that the way from the end finds them.
    """
    spans: list[tuple[int, int]] = []
    end = len(text)
    known = end if deltas else 0
    for place, delta in reversed(list(enumerate(deltas))):
        words = delta.content or delta.reasoning_content
        if not words:
            continue
        start = text.rfind(words, 0, end)
        if start < 0:
            # A parser may mend what it reads.
            return ([(0, end)] if delta.content else []) + spans, known
        if place == len(deltas) - 1:
            known = start + len(words)
        if delta.content:
            spans.append((start, start + len(words)))
        end = start
    return spans, known
