"""One training conversation, and its text exactly as llama.cpp's template engine prints it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

# Without the file's last newline, which would otherwise be printed after every prompt.
TEMPLATE_SOURCE = (
    (Path(__file__).parent / "chat_template.jinja").read_text(encoding="utf-8").rstrip("\n")
)

Message = dict[str, Any]
Tool = dict[str, Any]


@dataclass(slots=True)
class Conversation:
    """Messages and tools in the OpenAI chat format, which is what the template receives.

    A conversation with a `raw_text` is no chat at all but text to be continued, ended by
    <|endoftext|>. `given` are the messages, by index, that the model reads but does not learn
    to say.
    """

    messages: list[Message] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    raw_text: str = ""
    given: set[int] = field(default_factory=set)

    def system(self, text: str) -> None:
        self.messages.append({"role": "system", "content": text})

    def user(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})

    def assistant(self, text: str) -> None:
        self.messages.append({"role": "assistant", "content": text})

    def other_assistant(self, text: str) -> None:
        """An answer as another model might have worded it."""
        self.given.add(len(self.messages))
        self.assistant(text)

    def call(self, name: str, arguments: dict[str, Any]) -> None:
        function = {"name": name, "arguments": arguments}
        self.messages.append(
            {"role": "assistant", "content": "", "tool_calls": [{"function": function}]}
        )

    def tool_result(self, text: str) -> None:
        self.messages.append({"role": "tool", "content": text})


def _tojson(value: Any) -> str:
    # llama.cpp's common/jinja/value.cpp prints like Python with ensure_ascii off and keeps the
    # order of the keys; Jinja's own filter would sort them and escape for HTML.
    return json.dumps(value, ensure_ascii=False)


def _compile() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=False)
    environment.filters["tojson"] = _tojson
    return environment.from_string(TEMPLATE_SOURCE)


_TEMPLATE = _compile()


def learned_turns(conversation: Conversation) -> list[bool]:
    """For each assistant message in order, whether it is learned."""
    return [
        index not in conversation.given
        for index, message in enumerate(conversation.messages)
        if message["role"] == "assistant"
    ]


def render(conversation: Conversation, *, add_generation_prompt: bool = False) -> str:
    """The prompt text of a conversation."""
    if conversation.raw_text:
        return conversation.raw_text + "<|endoftext|>"
    text: str = _TEMPLATE.render(
        messages=conversation.messages,
        tools=conversation.tools,
        add_generation_prompt=add_generation_prompt,
    )
    return text
