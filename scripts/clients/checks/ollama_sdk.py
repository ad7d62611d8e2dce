"""The ollama package."""

from ollama import Client

from clients.checks.harness import BASE, EMBEDDING_MODEL, MODEL, expect, run_checks
from clients.checks.questions import (
    ANSWER,
    COLOUR_QUESTION,
    COLOURS,
    QUESTION,
    WEATHER,
    Colour,
    get_weather,
)

client = Client(host=BASE)
_OPTIONS = {"temperature": 0}


def chat() -> None:
    answer = client.chat(MODEL, [{"role": "user", "content": QUESTION}], options=_OPTIONS)
    expect(answer.message.content == ANSWER, answer)


def stream() -> None:
    messages = [{"role": "user", "content": QUESTION}]
    parts = list(client.chat(MODEL, messages, stream=True, options=_OPTIONS))
    expect("".join(part.message.content or "" for part in parts) == ANSWER, parts)
    expect(parts[-1].done, parts[-1])


def tools() -> None:
    messages = [{"role": "user", "content": WEATHER}]
    first = client.chat(MODEL, messages, tools=[get_weather], options=_OPTIONS)
    expect(first.message.tool_calls, first)
    call = first.message.tool_calls[0].function
    messages += [
        first.message,
        {"role": "tool", "tool_name": call.name, "content": get_weather(**call.arguments)},
    ]
    second = client.chat(MODEL, messages, tools=[get_weather], options=_OPTIONS)
    expect("sunny" in (second.message.content or ""), second)


def schema() -> None:
    messages = [{"role": "user", "content": COLOUR_QUESTION}]
    answer = client.chat(MODEL, messages, format=Colour.model_json_schema())
    colour = Colour.model_validate_json(answer.message.content or "").colour
    expect(colour in COLOURS, answer)


def embeddings() -> None:
    answer = client.embed(EMBEDDING_MODEL, ["one", "two"])
    expect(len(answer.embeddings) == 2 and any(answer.embeddings[1]), answer)


def old_embeddings() -> None:
    answer = client.embeddings(EMBEDDING_MODEL, "one")
    expect(any(answer.embedding), answer)


def generate() -> None:
    answer = client.generate(MODEL, QUESTION, options=_OPTIONS)
    expect(answer.response == ANSWER, answer)


def models() -> None:
    names = [model.model for model in client.list().models]
    expect(any(name and name.startswith(MODEL.removesuffix(".gguf")) for name in names), names)
    expect("tools" in (client.show(MODEL).capabilities or []), client.show(MODEL))
    expect(client.ps().models, client.ps())


if __name__ == "__main__":
    run_checks(chat, stream, tools, schema, embeddings, old_embeddings, generate, models)
