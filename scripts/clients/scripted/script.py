"""Script: which text the model has to say, decided by the conversation."""

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Self

from server.protocol.job import ChatPrompt

VARIABLE = "LLAMABIND_CLIENT_SCRIPT"
MARKER = re.compile(r"marker-\d{4}")


@dataclass(frozen=True, slots=True)
class Script:
    """`calls` are tools with the arguments to call them with; the first that is offered is called.

    A call is made where the last message is the user's. A tool's result is answered with the marker
    that it contains, so a client that prints the marker has sent the result of the tool to the
    server. A conversation without any of these tools, such as one that asks for a title, gets a
    short answer.
    """

    calls: tuple[tuple[str, dict[str, Any]], ...]

    @classmethod
    def from_environment(cls) -> Self:
        """Read the script from the variable: a JSON array of [name, arguments]."""
        calls = json.loads(os.environ[VARIABLE])
        return cls(tuple((str(name), dict(arguments)) for name, arguments in calls))

    def answer(self, prompt: ChatPrompt) -> str | None:
        """The text to say, as the model writes it; None leaves the answer to the model."""
        if prompt.json_schema is not None:
            return None
        last = prompt.messages[-1]
        if last["role"] == "tool":
            found = MARKER.search(json.dumps(last["content"]))
            return f"The tool says {found[0]}." if found else "The tool says nothing I look for."
        call = self._call(prompt.tools or [])
        if call is None or _has_result(prompt.messages):
            return "Hello from a script."
        # The bundled model's template: one JSON object between these tags.
        return f"<tool_call>\n{json.dumps(call)}\n</tool_call>"

    def _call(self, tools: list[dict[str, Any]]) -> dict[str, Any] | None:
        offered = {tool["function"]["name"] for tool in tools}
        for name, arguments in self.calls:
            if name in offered:
                return {"name": name, "arguments": arguments}
        return None


def _has_result(messages: list[dict[str, Any]]) -> bool:
    return any(message["role"] == "tool" for message in messages)
