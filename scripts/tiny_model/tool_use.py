"""What one use of one tool is made of."""

import random
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One declared tool and one use of it, from the question to the final answer."""

    name: str
    description: str
    properties: Schema
    required: tuple[str, ...]
    question: str
    arguments: dict[str, Any]
    result: str
    answer: str

    def declaration(self) -> dict[str, Any]:
        """The tool as OpenAI's `tools` array lists it, in the key order llama.cpp prints."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": {
                    "type": "object",
                    "properties": self.properties,
                    "required": list(self.required),
                },
            },
        }


def text_property(rng: random.Random, *descriptions: str) -> Schema:
    """A string parameter, mostly with a description."""
    if rng.random() < 0.35:
        return {"type": "string"}
    return {"type": "string", "description": rng.choice(descriptions)}
