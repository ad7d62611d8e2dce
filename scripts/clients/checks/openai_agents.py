"""The openai-agents package, over responses and over chat completions."""

import asyncio
import sys
from typing import Any

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

from clients.checks.harness import BASE, KEY, MODEL, expect, run_checks
from clients.checks.questions import (
    ANSWER,
    COLOUR_QUESTION,
    COLOURS,
    QUESTION,
    WEATHER,
    Colour,
    get_weather,
)

set_tracing_disabled(True)
_KINDS = {"responses": OpenAIResponsesModel, "chat": OpenAIChatCompletionsModel}


_get_weather = function_tool(get_weather)


def _agent(**options: Any) -> Any:
    client = AsyncOpenAI(base_url=f"{BASE}/v1", api_key=KEY, max_retries=0)
    model = _KINDS[sys.argv[1]](model=MODEL, openai_client=client)
    return Agent(name="agent", model=model, model_settings=ModelSettings(temperature=0), **options)


def chat() -> None:
    answer = Runner.run_sync(_agent(), QUESTION).final_output
    expect(answer == ANSWER, answer)


def stream() -> None:
    async def read() -> Any:
        result = Runner.run_streamed(_agent(), QUESTION)
        async for _ in result.stream_events():
            pass
        return result.final_output

    answer = asyncio.run(read())
    expect(answer == ANSWER, answer)


def tools() -> None:
    answer = Runner.run_sync(_agent(tools=[_get_weather]), WEATHER).final_output
    expect("sunny" in answer, answer)


def schema() -> None:
    answer = Runner.run_sync(_agent(output_type=Colour), COLOUR_QUESTION).final_output
    expect(answer.colour in COLOURS, answer)


if __name__ == "__main__":
    run_checks(chat, stream, tools, schema)
