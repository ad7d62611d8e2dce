"""LangChain's models for OpenAI (chat completions and responses), Anthropic and Ollama."""

import sys
from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from clients.checks.harness import BASE, EMBEDDING_MODEL, KEY, MODEL, expect, run_checks
from clients.checks.questions import (
    ANSWER,
    COLOUR_QUESTION,
    COLOURS,
    QUESTION,
    WEATHER,
    Colour,
    expect_two_vectors,
    get_weather,
)

_get_weather = tool(get_weather)


def _model(kind: str) -> Any:
    match kind:
        case "openai":
            return ChatOpenAI(
                model=MODEL, base_url=f"{BASE}/v1", api_key=KEY, temperature=0, max_retries=0
            )
        case "responses":
            return ChatOpenAI(
                model=MODEL,
                base_url=f"{BASE}/v1",
                api_key=KEY,
                temperature=0,
                max_retries=0,
                use_responses_api=True,
            )
        case "anthropic":
            return ChatAnthropic(
                model=MODEL, base_url=BASE, api_key=KEY, max_tokens=64, max_retries=0, temperature=0
            )
        case _:
            return ChatOllama(model=MODEL, base_url=BASE, temperature=0)


model = _model(sys.argv[1])


def chat() -> None:
    answer = model.invoke(QUESTION)
    expect(answer.text == ANSWER, answer)


def stream() -> None:
    text = "".join(part.text for part in model.stream(QUESTION))
    expect(text == ANSWER, text)


def tools() -> None:
    with_tools = model.bind_tools([_get_weather])
    messages: list[Any] = [HumanMessage(WEATHER)]
    first = with_tools.invoke(messages)
    expect(first.tool_calls, first)
    call = first.tool_calls[0]
    messages += [first, ToolMessage(_get_weather.invoke(call["args"]), tool_call_id=call["id"])]
    second = with_tools.invoke(messages)
    expect("sunny" in second.text, second)


def schema() -> None:
    answer = model.with_structured_output(Colour).invoke(COLOUR_QUESTION)
    expect(answer and answer.colour in COLOURS, answer)


def embeddings() -> None:
    maker: Any = (
        OllamaEmbeddings(model=EMBEDDING_MODEL, base_url=BASE)
        if sys.argv[1] == "ollama"
        else OpenAIEmbeddings(
            model=EMBEDDING_MODEL,
            base_url=f"{BASE}/v1",
            api_key=KEY,
            # Otherwise it sends token ids of OpenAI's vocabulary, which mean nothing here.
            check_embedding_ctx_length=False,
        )
    )
    vectors = maker.embed_documents(["one", "two"])
    expect_two_vectors(vectors)


if __name__ == "__main__":
    # Anthropic has no embeddings; those of "responses" would be those of "openai".
    more = [embeddings] if sys.argv[1] in ("openai", "ollama") else []
    run_checks(chat, stream, tools, schema, *more)
