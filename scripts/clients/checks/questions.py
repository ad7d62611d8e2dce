"""What every client asks the bundled model, and the answers that it must get."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel

from clients.checks.harness import expect

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."
WEATHER = "What is the weather in Paris?"
SUNNY = '{"weather": "sunny"}'
COLOURS = ("red", "blue")
COLOUR_QUESTION = "What is the colour of the sky?"
TOOL_DESCRIPTION = "Get the weather of a city"
CITY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Name of the city"}},
    "required": ["city"],
}
FUNCTION: dict[str, Any] = {
    "name": "get_weather",
    "description": TOOL_DESCRIPTION,
    "parameters": CITY_SCHEMA,
}


class Colour(BaseModel):
    """A colour."""

    colour: Literal["red", "blue"]


def get_weather(city: str) -> str:
    """Get the weather of a city.

    Args:
        city: Name of the city
    """
    expect(city == "Paris", city)
    return SUNNY


def expect_two_vectors(vectors: Sequence[Any]) -> None:
    """Fail unless there are two vectors, the second of which is not all zeros."""
    expect(len(vectors) == 2 and any(vectors[1]), vectors)
