"""The openai package: chat completions, responses and embeddings."""

from openai import OpenAI

from clients.checks.harness import BASE, EMBEDDING_MODEL, KEY, MODEL, expect, run_checks
from clients.checks.questions import (
    ANSWER,
    COLOUR_QUESTION,
    COLOURS,
    FUNCTION,
    QUESTION,
    SUNNY,
    WEATHER,
    Colour,
)

client = OpenAI(base_url=f"{BASE}/v1", api_key=KEY, max_retries=0)


def chat() -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": QUESTION}], temperature=0
    )
    expect(answer.choices[0].message.content == ANSWER, answer)


def stream() -> None:
    with client.chat.completions.stream(
        model=MODEL, messages=[{"role": "user", "content": QUESTION}], temperature=0
    ) as events:
        final = events.get_final_completion()
    expect(final.choices[0].message.content == ANSWER, final)


def tools() -> None:
    messages = [{"role": "user", "content": WEATHER}]
    tools = [{"type": "function", "function": FUNCTION}]
    first = client.chat.completions.create(
        model=MODEL, messages=messages, tools=tools, temperature=0
    )
    message = first.choices[0].message
    expect(message.tool_calls and "Paris" in message.tool_calls[0].function.arguments, first)
    messages += [
        message.model_dump(),
        {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": SUNNY},
    ]
    second = client.chat.completions.create(
        model=MODEL, messages=messages, tools=tools, temperature=0
    )
    expect("sunny" in (second.choices[0].message.content or ""), second)


def schema() -> None:
    answer = client.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": COLOUR_QUESTION}],
        response_format=Colour,
    )
    parsed = answer.choices[0].message.parsed
    expect(parsed and parsed.colour in COLOURS, answer)


def embeddings() -> None:
    vectors = client.embeddings.create(model=EMBEDDING_MODEL, input=["one", "two"]).data
    expect(len(vectors) == 2 and all(any(item.embedding) for item in vectors), vectors)


def models() -> None:
    names = [model.id for model in client.models.list()]
    expect(MODEL in names, names)


def responses() -> None:
    answer = client.responses.create(model=MODEL, input=QUESTION, temperature=0)
    expect(answer.output_text == ANSWER, answer)


def responses_stream() -> None:
    with client.responses.stream(model=MODEL, input=QUESTION, temperature=0) as events:
        kinds = [event.type for event in events]
        final = events.get_final_response()
    expect(final.output_text == ANSWER and kinds[-1] == "response.completed", kinds)


def responses_tools() -> None:
    tools = [{"type": "function", "strict": False, **FUNCTION}]
    items = [{"role": "user", "content": WEATHER}]
    first = client.responses.create(model=MODEL, input=items, tools=tools, temperature=0)
    call = first.output[-1]
    expect(call.type == "function_call" and "Paris" in call.arguments, first)
    items += first.output
    items += [{"type": "function_call_output", "call_id": call.call_id, "output": SUNNY}]
    second = client.responses.create(model=MODEL, input=items, tools=tools, temperature=0)
    expect("sunny" in second.output_text, second)


def responses_schema() -> None:
    answer = client.responses.parse(model=MODEL, input=COLOUR_QUESTION, text_format=Colour)
    expect(answer.output_parsed and answer.output_parsed.colour in COLOURS, answer)


def completions() -> None:
    answer = client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=8)
    expect(answer.choices[0].text, answer)


if __name__ == "__main__":
    run_checks(
        chat,
        stream,
        tools,
        schema,
        embeddings,
        models,
        responses,
        responses_stream,
        responses_tools,
        responses_schema,
        completions,
    )
