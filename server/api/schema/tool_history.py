"""CallHistory: checks that every tool result in a conversation answers an earlier tool call."""

from collections.abc import Iterable

from server.errors import InvalidRequestError


class CallHistory:
    """The ids of the tool calls that were added. A call or result without an id is not checked,
    because many templates need no ids.
    """

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def add_calls(self, calls: Iterable[tuple[str, str | None]]) -> None:
        """Add the calls of one message, as pairs of field name and id."""
        own: set[str] = set()
        for param, call_id in calls:
            if call_id is None:
                continue
            if call_id in own:
                text = f"field '{param}': another call of this message already has id {call_id!r}"
                raise InvalidRequestError(text, param=param)
            own.add(call_id)
        self._ids |= own

    def check_result(self, param: str, call_id: str | None) -> None:
        """Raise InvalidRequestError naming `param` if no earlier call has this id."""
        if call_id is not None and call_id not in self._ids:
            text = f"field '{param}': no earlier tool call has the id {call_id!r}"
            raise InvalidRequestError(text, param=param)
