"""CallHistory: whether every result of a tool in a conversation belongs to a call before it."""

from collections.abc import Iterable

from server.errors import InvalidRequestError


class CallHistory:
    """The ids of the calls so far. A call without an id can be answered by a result without one
    only, and that is not looked at: many templates need none.
    """

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def add_calls(self, calls: Iterable[tuple[str, str | None]]) -> None:
        """Take the calls of one message, as the fields of their ids and these."""
        own: set[str] = set()
        for param, call_id in calls:
            if call_id is None:
                continue
            if call_id in own:
                text = f"field '{param}': another call of the message has the id {call_id!r}"
                raise InvalidRequestError(text, param=param)
            own.add(call_id)
        self._ids |= own

    def check_result(self, param: str, call_id: str | None) -> None:
        """Raise InvalidRequestError naming `param` if there was no such call."""
        if call_id is not None and call_id not in self._ids:
            text = f"field '{param}': no call before it has the id {call_id!r}"
            raise InvalidRequestError(text, param=param)
