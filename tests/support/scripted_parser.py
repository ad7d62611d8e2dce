"""ScriptedParser: the output parser of a scripted engine (fake_worker.py)."""

from llamabind.chat.output_parser import MessageDelta, ToolCallDelta


class ScriptedParser:
    """Reads "<r>" as reasoning until "</r>", and "<f>" as a call of a function `f` until "</f>"."""

    is_plain = False

    def __init__(self) -> None:
        self._kind = "content"
        self._n_calls = 0

    def feed(self, text: str, *, final: bool = False) -> tuple[MessageDelta, ...]:
        return tuple(delta for word in text.split() if (delta := self._word(word)) is not None)

    def close(self) -> None:
        pass

    def _word(self, word: str) -> MessageDelta | None:
        if word.startswith("</"):
            self._kind = "content"
            return None
        if word.startswith("<"):
            self._kind = word.strip("<>")
            if self._kind == "r":
                return None
            self._n_calls += 1
            call_id = f"call{self._n_calls}"
            return MessageDelta(tool_call=ToolCallDelta(self._n_calls - 1, call_id, self._kind, ""))
        if self._kind == "content":
            return MessageDelta(content=word)
        if self._kind == "r":
            return MessageDelta(reasoning_content=word)
        return MessageDelta(tool_call=ToolCallDelta(self._n_calls - 1, None, None, word))
