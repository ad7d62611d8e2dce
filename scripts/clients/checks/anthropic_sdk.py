"""The anthropic package."""

from anthropic import Anthropic, beta_tool

from clients.checks.harness import BASE, KEY, MODEL, expect, run_checks
from clients.checks.questions import (
    ANSWER,
    CITY_SCHEMA,
    COLOUR_QUESTION,
    COLOURS,
    QUESTION,
    SUNNY,
    TOOL_DESCRIPTION,
    WEATHER,
    Colour,
    get_weather,
)

client = Anthropic(base_url=BASE, api_key=KEY, max_retries=0)
_CHAT = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": QUESTION}]}


_get_weather = beta_tool(get_weather)


def chat() -> None:
    answer = client.messages.create(**_CHAT, extra_body={"temperature": 0})
    expect(answer.content[0].text == ANSWER, answer)


def stream() -> None:
    with client.messages.stream(**_CHAT, extra_body={"temperature": 0}) as events:
        text = "".join(events.text_stream)
        final = events.get_final_message()
    expect(text == ANSWER and final.stop_reason == "end_turn", final)


def tools() -> None:
    tools = [{"name": "get_weather", "description": TOOL_DESCRIPTION, "input_schema": CITY_SCHEMA}]
    messages = [{"role": "user", "content": WEATHER}]
    options = {"model": MODEL, "max_tokens": 64, "tools": tools, "extra_body": {"temperature": 0}}
    first = client.messages.create(messages=messages, **options)
    call = first.content[-1]
    expect(call.type == "tool_use" and call.input == {"city": "Paris"}, first)
    messages += [
        {"role": "assistant", "content": first.content},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call.id, "content": SUNNY}],
        },
    ]
    second = client.messages.create(messages=messages, **options)
    expect("sunny" in second.content[0].text, second)


def tool_runner() -> None:
    final = client.beta.messages.tool_runner(
        model=MODEL,
        max_tokens=64,
        tools=[_get_weather],
        messages=[{"role": "user", "content": WEATHER}],
        extra_body={"temperature": 0},
    ).until_done()
    expect("sunny" in final.content[0].text, final)


def schema() -> None:
    answer = client.messages.parse(
        model=MODEL,
        max_tokens=64,
        messages=[{"role": "user", "content": COLOUR_QUESTION}],
        output_format=Colour,
    )
    expect(answer.parsed_output and answer.parsed_output.colour in COLOURS, answer)


def count_tokens() -> None:
    messages = [{"role": "user", "content": QUESTION}]
    counted = client.messages.count_tokens(model=MODEL, messages=messages)
    expect(counted.input_tokens > 5, counted)


def models() -> None:
    names = [model.id for model in client.models.list()]
    expect(MODEL in names, names)


if __name__ == "__main__":
    run_checks(chat, stream, tools, tool_runner, schema, count_tokens, models)
