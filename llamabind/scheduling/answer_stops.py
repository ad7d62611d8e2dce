"""AnswerStops: the stop strings of a request, where its answer has reasoning before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamabind.scheduling.stop_strings import StopMatcher

if TYPE_CHECKING:
    from llamabind.request import ReasoningTags

_MAX_LEADING_SPACE = 64


class AnswerStops:
    """Passes the text of an answer on until a stop string, like StopMatcher.

    `stops` are the client's: they are matched in the answer, not in the reasoning before it, which
    has its own line breaks and headings. `template_stops` are matched everywhere. The reasoning
    lies between a start tag at the beginning of the text, or in the prompt if `is_open`, and the
    first of the end tags. Without `tags` all of the text is the answer.
    """

    def __init__(
        self,
        stops: tuple[str, ...],
        template_stops: tuple[str, ...] = (),
        tags: ReasoningTags | None = None,
    ) -> None:
        self._template_stops = template_stops
        self._in_answer = (*stops, *template_stops)
        self._tags = tags if stops else None
        self._begun = ""
        self._is_reasoning = self._tags is not None and self._tags.is_open
        self._has_begun = self._tags is None or self._is_reasoning
        # True in the white space between reasoning and answer, which belongs to neither.
        self._is_between = False
        self._matcher = StopMatcher(self._in_reasoning if self._is_reasoning else self._in_answer)
        self.is_idle = self._tags is None and not self._in_answer
        """True if no text can match, so that there is nothing to feed."""

    @property
    def matched(self) -> str | None:
        """The stop string that was found, if any."""
        return None if self._is_reasoning_tag(self._matcher.matched) else self._matcher.matched

    def feed(self, text: str) -> str:
        """Return the text that is certainly not part of a stop string; "" after a match."""
        if not self._has_begun:
            text = self._begun + text
            if self._may_begin_reasoning(text):
                self._begun = text
                return ""
            self._has_begun, self._begun = True, ""
            return self._enter_reasoning(text)
        return self._feed(text)

    def finish(self) -> str:
        """Return the held-back text, at the end of the answer."""
        begun, self._begun, self._has_begun = self._begun, "", True
        return self._feed(begun) + ("" if self.matched is not None else self._matcher.finish())

    def _feed(self, text: str) -> str:
        if self._is_between:
            answer = text.lstrip()
            self._is_between = not answer
            return text[: len(text) - len(answer)] + self._matcher.feed(answer)
        shown = self._matcher.feed(text)
        tag = self._matcher.matched
        if tag is None or not self._is_reasoning_tag(tag):
            return shown
        rest = self._matcher.rest
        self._is_reasoning, self._is_between = False, True
        self._matcher = StopMatcher(self._in_answer)
        return shown + tag + self._feed(rest)

    @property
    def _in_reasoning(self) -> tuple[str, ...]:
        ends = () if self._tags is None else self._tags.ends
        return (*self._template_stops, *ends)

    def _is_reasoning_tag(self, found: str | None) -> bool:
        return self._is_reasoning and found is not None and found not in self._template_stops

    def _may_begin_reasoning(self, text: str) -> bool:
        """Return whether `text` is a proper beginning of the start tag."""
        start = text.lstrip()
        tag = "" if self._tags is None else self._tags.start
        return (
            len(text) - len(start) <= _MAX_LEADING_SPACE and tag != start and tag.startswith(start)
        )

    def _enter_reasoning(self, text: str) -> str:
        """Feed the beginning of the text, now that it is certain whether it has the start tag."""
        start = text.lstrip()
        tag = "" if self._tags is None else self._tags.start
        if not tag or not start.startswith(tag):
            return self._feed(text)
        end = len(text) - len(start) + len(tag)
        self._is_reasoning = True
        self._matcher = StopMatcher(self._in_reasoning)
        return text[:end] + self._feed(text[end:])
