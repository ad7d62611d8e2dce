"""LlamaIndex with OpenAILike and Ollama."""

import sys
from typing import Any, Literal

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.ollama import Ollama
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

from clients.checks.harness import (
    ANSWER,
    BASE,
    COLOUR_QUESTION,
    COLOURS,
    EMBEDDING_MODEL,
    KEY,
    MODEL,
    QUESTION,
    SUNNY,
    WEATHER,
    expect,
    run_checks,
)


class Colour(BaseModel):
    """A colour."""

    colour: Literal["red", "blue"]


def get_weather(city: str) -> str:
    """Get the weather of a city"""
    expect(city == "Paris", city)
    return SUNNY


def _model() -> Any:
    if sys.argv[1] == "ollama":
        return Ollama(model=MODEL, base_url=BASE, temperature=0)
    return OpenAILike(
        model=MODEL,
        api_base=f"{BASE}/v1",
        api_key=KEY,
        is_chat_model=True,
        is_function_calling_model=True,
        temperature=0,
        max_retries=0,
    )


model = _model()
_MESSAGE = [ChatMessage(role="user", content=QUESTION)]


def chat() -> None:
    answer = model.chat(_MESSAGE)
    expect(answer.message.content == ANSWER, answer)


def stream() -> None:
    text = "".join(part.delta or "" for part in model.stream_chat(_MESSAGE))
    expect(text == ANSWER, text)


def tools() -> None:
    answer = model.predict_and_call([FunctionTool.from_defaults(get_weather)], WEATHER)
    expect("sunny" in str(answer), answer)


def schema() -> None:
    message = [ChatMessage(role="user", content=COLOUR_QUESTION)]
    answer = model.as_structured_llm(Colour).chat(message).raw
    expect(answer.colour in COLOURS, answer)


def embeddings() -> None:
    embedder = OpenAIEmbedding(
        model_name=EMBEDDING_MODEL, api_base=f"{BASE}/v1", api_key=KEY, max_retries=0
    )
    vectors = embedder.get_text_embedding_batch(["one", "two"])
    expect(len(vectors) == 2 and any(vectors[1]), vectors)


if __name__ == "__main__":
    more = [embeddings] if sys.argv[1] == "openai" else []
    run_checks(chat, stream, tools, schema, *more)
