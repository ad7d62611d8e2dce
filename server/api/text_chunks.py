"""TextChunks: the chunks of a stream that bring nothing but text, encoded with little work."""

from collections.abc import Callable
from typing import Any

import msgspec

from server.protocol import SequenceOutput

_NO_CONTENT = b'"content":""'


class TextChunks:
    """The chunks of an answer that bring nothing but a piece of text, as JSON.

    They differ in nothing else, and there is one for each token: so the rest is encoded once.
    """

    def __init__(self) -> None:
        self._frames: dict[int, tuple[bytes, bytes]] = {}

    def encode(
        self, output: SequenceOutput, make: Callable[[int, dict[str, Any]], Any]
    ) -> msgspec.Raw:
        """The chunk for `output`; `make` makes one of an index and a delta."""
        frame = self._frames.get(output.index)
        if frame is None:
            whole = msgspec.json.encode(make(output.index, {"content": ""}))
            # Inside of a string the quotes would be escaped: there is no other place like it.
            before, after = whole.split(_NO_CONTENT)
            frame = self._frames[output.index] = before + _NO_CONTENT[:-2], after
        return msgspec.Raw(frame[0] + msgspec.json.encode(output.text) + frame[1])

    @staticmethod
    def fits(output: SequenceOutput) -> bool:
        """Whether text is all that is new."""
        return bool(output.text) and not (
            output.reasoning
            or output.tool_calls
            or output.logprobs
            or output.prompt_logprobs
            or output.finish_reason
            or output.timings
        )
