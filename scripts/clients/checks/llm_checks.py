"""The `llm` library: OpenAI-compatible models of its extra file, and the plugin llm-ollama."""

import os
import sys
from pathlib import Path
from typing import Any

import llm

from clients.checks.harness import BASE, EMBEDDING_MODEL, MODEL, expect, run_checks
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

# As a user writes it. JSON is YAML, too.
_EXTRA = f"""
- model_id: extra
  model_name: {MODEL}
  api_base: "{BASE}/v1"
  supports_tools: true
  supports_schema: true
"""


def _model() -> Any:
    if sys.argv[1] == "extra":
        folder = Path(os.environ["LLM_USER_PATH"])
        (folder / "extra-openai-models.yaml").write_text(_EXTRA)
        return llm.get_model("extra")
    os.environ["OLLAMA_HOST"] = BASE
    return llm.get_model(f"ollama/{MODEL}")


model = _model()


def chat() -> None:
    answer = model.prompt(QUESTION, temperature=0, stream=False).text()
    expect(answer == ANSWER, answer)


def stream() -> None:
    answer = "".join(model.prompt(QUESTION, temperature=0))
    expect(answer == ANSWER, answer)


def tools() -> None:
    answer = model.chain(WEATHER, tools=[get_weather], options={"temperature": 0}).text()
    expect("sunny" in answer, answer)


def schema() -> None:
    answer = model.prompt(COLOUR_QUESTION, schema=Colour, temperature=0).text()
    expect(Colour.model_validate_json(answer).colour in COLOURS, answer)


def embeddings() -> None:
    embedder = llm.get_embedding_model(f"ollama/{EMBEDDING_MODEL}")
    vectors = list(embedder.embed_multi(["one", "two"]))
    expect_two_vectors(vectors)


if __name__ == "__main__":
    more = [embeddings] if sys.argv[1] == "ollama" else []
    run_checks(chat, stream, tools, schema, *more)
