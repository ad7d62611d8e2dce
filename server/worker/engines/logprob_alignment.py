"""LogprobAlignment: holds log-probabilities back until the text of their tokens is output."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from llamabind.chat.output_parser import MessageDelta
from llamabind.scheduling.detokenizer import Detokenizer
from server.protocol.outputs import LogprobEntry


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An entry, and the range of the answer's characters that its token contributes to."""

    entry: LogprobEntry
    start: int
    end: int


class LogprobAlignment:
    """The entries of one answer. Positions count characters of the raw answer, with markup.

    The engine and the parser hold text back while it may begin a stop string or a tag. The entries
    of its tokens are output together with the text, or dropped if it was a stop string.
    """

    def __init__(self) -> None:
        self._detokenizer = Detokenizer()
        self._waiting: deque[_Waiting] = deque()
        self._n_decoded = 0
        # Text from the engine that was not in a delta yet, and its position.
        self._text = ""
        self._text_start = 0

    def put(self, entry: LogprobEntry, piece: bytes) -> None:
        """Queue an entry; its token adds `piece` to the text, possibly only part of a character."""
        start = self._n_decoded
        self._n_decoded += len(self._detokenizer.feed(piece))
        self._waiting.append(_Waiting(entry, start, max(self._n_decoded, start + 1)))

    def add_text(self, text: str) -> None:
        """Add text that the engine no longer holds back."""
        self._text += text

    def take(self, deltas: Sequence[MessageDelta]) -> list[LogprobEntry]:
        """The entries of the text in `deltas`, and of the markup before it."""
        spans, end = _content_spans(self._text, deltas)
        begin = self._text_start
        self._text, self._text_start = self._text[end:], begin + end
        contents = [(begin + first, begin + last) for first, last in spans]
        return self._release(self._text_start, contents)

    def take_rest(self, *, is_cut: bool) -> list[LogprobEntry]:
        """The remaining entries at the end; with `is_cut` only those of text that was output."""
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
    """The ranges of content in `text`, and the end of the last delta.

    Deltas have the words of `text` without its tags. After the last delta there may be text that
    is held back; so the deltas are searched from the end of `text`.
    """
    spans: list[tuple[int, int]] = []
    end = len(text)
    known = end if deltas else 0
    for position, delta in reversed(list(enumerate(deltas))):
        words = delta.content or delta.reasoning_content
        if not words:
            continue
        start = text.rfind(words, 0, end)
        if start < 0:
            # A parser may correct the text that it reads.
            return ([(0, end)] if delta.content else []) + spans, known
        if position == len(deltas) - 1:
            known = start + len(words)
        if delta.content:
            spans.append((start, start + len(words)))
        end = start
    return spans, known
