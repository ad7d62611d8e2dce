"""Script: which text the model has to say, decided by the conversation."""

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Self

from server.protocol.job import ChatPrompt

VARIABLE = "CLIENTS_SCRIPT"
GREETING = "Hello from a script."
MARKER = re.compile(r"marker-\d{4}")

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Script:
    """`calls` has tools with arguments for each task's prompt; the first that is offered is called.

    The user's message that contains the prompt is answered with that call, and the tool's result
    with the marker in it. So a client that prints the marker has run the tool and has sent its
    result. Conversations without a call, such as one that asks for a title, get a greeting. A call
    without a name is a text, for agents without tools.
    """

    calls: dict[str, list[Call]]

    @classmethod
    def from_environment(cls) -> Self:
        """Read the script from the variable: a JSON object of prompts with [name, arguments]."""
        calls = json.loads(os.environ[VARIABLE])
        return cls({prompt: [(name, given) for name, given in calls[prompt]] for prompt in calls})

    def answer(self, prompt: ChatPrompt) -> str | None:
        """The text to say, as the model writes it; None leaves the answer to the model."""
        if prompt.json_schema is not None:
            return None
        results = ""
        for message in reversed(prompt.messages):
            text = json.dumps(message.get("content"), default=repr)  # the bytes of images, too
            if message["role"] == "tool":
                results += text
            elif message["role"] == "user":
                for asked, calls in self.calls.items():
                    if asked in text:
                        return _after(results) if results else _call(calls, prompt.tools or [])
        return GREETING


def _after(results: str) -> str:
    found = MARKER.search(results)
    return f"The tool says {found[0]}." if found else "The tool has answered."


def _call(calls: list[Call], tools: list[dict[str, Any]]) -> str:
    offered = {tool["function"]["name"] for tool in tools}
    for name, arguments in calls:
        if not name:
            return str(arguments["text"])
        if name in offered:
            call = json.dumps({"name": name, "arguments": arguments})
            # The form of the bundled model's template.
            return f"<tool_call>\n{call}\n</tool_call>"
    return GREETING
