"""LlamaIndex with OpenAILike and Ollama."""

import sys
from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.ollama import Ollama
from llama_index.llms.openai_like import OpenAILike

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
    expect_two_vectors(vectors)


if __name__ == "__main__":
    more = [embeddings] if sys.argv[1] == "openai" else []
    run_checks(chat, stream, tools, schema, *more)
