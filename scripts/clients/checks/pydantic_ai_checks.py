"""pydantic-ai with its models for OpenAI (chat completions, responses), Anthropic and Ollama."""

import asyncio
import sys
from typing import Any

from pydantic_ai import Agent, Embedder, NativeOutput
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.ollama import OllamaModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider

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


def _openai() -> OpenAIProvider:
    return OpenAIProvider(base_url=f"{BASE}/v1", api_key=KEY)


def _model() -> Any:
    match sys.argv[1]:
        case "openai":
            return OpenAIChatModel(MODEL, provider=_openai())
        case "responses":
            return OpenAIResponsesModel(MODEL, provider=_openai())
        case "ollama":
            return OllamaModel(MODEL, provider=OllamaProvider(base_url=f"{BASE}/v1"))
        case _:
            return AnthropicModel(MODEL, provider=AnthropicProvider(base_url=BASE, api_key=KEY))


def _agent(**options: Any) -> Any:
    return Agent(_model(), model_settings={"temperature": 0}, **options)


def chat() -> None:
    answer = _agent().run_sync(QUESTION).output
    expect(answer == ANSWER, answer)


def stream() -> None:
    async def read() -> str:
        async with _agent().run_stream(QUESTION) as result:
            return [text async for text in result.stream_text()][-1]

    answer = asyncio.run(read())
    expect(answer == ANSWER, answer)


def tools() -> None:
    answer = _agent(tools=[get_weather]).run_sync(WEATHER).output
    expect("sunny" in answer, answer)


def schema() -> None:
    answer = _agent(output_type=NativeOutput(Colour)).run_sync(COLOUR_QUESTION).output
    expect(answer.colour in COLOURS, answer)


def output_tool() -> None:
    answer = _agent(output_type=Colour).run_sync(COLOUR_QUESTION).output
    expect(answer.colour in COLOURS, answer)


def embeddings() -> None:
    embedder = Embedder(OpenAIEmbeddingModel(EMBEDDING_MODEL, provider=_openai()))
    vectors = embedder.embed_documents_sync(["one", "two"]).embeddings
    expect_two_vectors(vectors)


if __name__ == "__main__":
    more = [embeddings] if sys.argv[1] == "openai" else []
    if sys.argv[1] != "anthropic":  # refused for names of models that are not Anthropic's
        more.append(schema)
    run_checks(chat, stream, tools, output_tool, *more)
