"""instructor over openai and anthropic, in its modes."""

from typing import Any

import instructor
from anthropic import Anthropic
from openai import OpenAI

from clients.checks.harness import BASE, KEY, MODEL, expect, run_checks
from clients.checks.questions import COLOUR_QUESTION, COLOURS, Colour

_OPENAI = OpenAI(base_url=f"{BASE}/v1", api_key=KEY, max_retries=0)
_ANTHROPIC = Anthropic(base_url=BASE, api_key=KEY, max_retries=0)
_MESSAGES = [{"role": "user", "content": COLOUR_QUESTION}]


def _ask(client: Any, **options: Any) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=_MESSAGES, response_model=Colour, max_retries=0, **options
    )
    expect(answer.colour in COLOURS, answer)


def tools() -> None:
    _ask(instructor.from_openai(_OPENAI, mode=instructor.Mode.TOOLS))


def schema() -> None:
    _ask(instructor.from_openai(_OPENAI, mode=instructor.Mode.JSON_SCHEMA))


def stream() -> None:
    client: Any = instructor.from_openai(_OPENAI, mode=instructor.Mode.JSON_SCHEMA)
    parts = list(
        client.chat.completions.create_partial(
            model=MODEL, messages=_MESSAGES, response_model=Colour, max_retries=0
        )
    )
    expect(parts[-1].colour in COLOURS, parts)


def responses_tools() -> None:
    _ask(instructor.from_openai(_OPENAI, mode=instructor.Mode.RESPONSES_TOOLS))


def anthropic_tools() -> None:
    client = instructor.from_anthropic(_ANTHROPIC, mode=instructor.Mode.ANTHROPIC_TOOLS)
    _ask(client, max_tokens=64)


if __name__ == "__main__":
    run_checks(tools, schema, stream, responses_tools, anthropic_tools)
