"""CallHistory: warns about results of tools in a conversation without an earlier call."""

from collections.abc import Iterable

from server.api.schema.left_out import LeftOut


class CallHistory:
    """The ids of the tool calls that were added. A call or result without an id is not checked,
    because many templates need no ids.

    OpenAI and Anthropic refuse a result without its call. But agents send one when they cut the
    beginning of a long conversation, and templates can render it, so here it is a warning.
    """

    def __init__(self, left_out: LeftOut) -> None:
        self._left_out = left_out
        self._ids: set[str] = set()

    def add_calls(self, ids: Iterable[str | None]) -> None:
        """Add the ids of one message's calls."""
        self._ids.update(one for one in ids if one)

    def check_result(self, path: str, call_id: str | None) -> None:
        """Warn if no earlier call has the id of the result at `path`."""
        if call_id and call_id not in self._ids:
            self._left_out.note(path, "a tool's result without an earlier call of this id")
