"""CallDeltas: the pieces of tool calls in the deltas of OpenAI's chunks."""

from collections.abc import Mapping
from typing import Any

from server.api.shared.custom_input import CustomInput
from server.protocol.job import ToolForm
from server.protocol.outputs import SequenceOutput, ToolCallPiece


class CallDeltas:
    """Turns pieces of calls into deltas: id and name in a call's first one, then its arguments, or
    the text of a custom tool.
    """

    def __init__(self, forms: Mapping[str, ToolForm]) -> None:
        self._forms = forms
        # The open calls of custom tools, by the index of the answer and of the call.
        self._inputs: dict[tuple[int, int], CustomInput] = {}

    def deltas(self, output: SequenceOutput) -> list[dict[str, Any]]:
        """The deltas of the calls in `output`; of some pieces nothing can be sent yet."""
        made = [self._delta(output.index, piece) for piece in output.tool_calls]
        if output.finish_reason is not None:
            for index, number in [key for key in self._inputs if key[0] == output.index]:
                rest = self._inputs.pop((index, number)).finish()
                made.append({"index": number, "custom": {"input": rest}} if rest else None)
        return [delta for delta in made if delta is not None]

    def _delta(self, answer: int, piece: ToolCallPiece) -> dict[str, Any] | None:
        head: dict[str, Any] = {"index": piece.index}
        key = (answer, piece.index)
        if piece.name is None:
            if key not in self._inputs:
                return head | {"function": {"arguments": piece.arguments}}
            text = self._inputs[key].feed(piece.arguments)
            return head | {"custom": {"input": text}} if text else None
        form = self._forms.get(piece.name)
        if form is None or form.kind != "custom":
            called = {"name": piece.name, "arguments": piece.arguments}
            return head | {"id": piece.id, "type": "function", "function": called}
        custom = self._inputs[key] = CustomInput()
        called = {"name": form.name, "input": custom.feed(piece.arguments)}
        return head | {"id": piece.id, "type": "custom", "custom": called}
