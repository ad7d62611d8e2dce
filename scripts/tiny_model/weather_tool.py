"""The weather tool, in the many forms clients declare it and services answer it."""

import json
import random
from typing import Any

from tiny_model.phrasing import made_up_word, one_of, place, sentence
from tiny_model.tool_use import ToolUse, text_property

_CONDITIONS = (
    "sunny", "cloudy", "rainy", "windy", "snowy", "foggy", "clear", "stormy", "partly cloudy",
    "light rain", "warm", "cold", "overcast", "clear sky", "heavy rain", "scattered clouds",
)  # fmt: skip


_UNITS = ("", "C", " C", "\u00b0C", " degrees", " F", "F")


def _weather_sentence(rng: random.Random, degrees: int) -> str:
    """A sentence from the tool, which the answer repeats."""
    return one_of(
        rng,
        "It is {n}C and {w}.",
        "It is {w} and {n} degrees.",
        "{n}",
        "{n}C",
        "{n} degrees",
        "{w}",
        "The weather is {w}.",
        w=rng.choice((*_CONDITIONS, "raining", "snowing", "nice")),
        n=str(degrees),
    )


def _weather_result(rng: random.Random, city: str, sky: str, degrees: int) -> str:
    sky_key = rng.choice(("condition", "conditions", "weather", "description", "sky"))
    degrees_key = rng.choice(("temperature", "temperature", "temp", "temperature_c", "degrees"))
    shown: int | str = degrees if rng.random() < 0.6 else f"{degrees}{rng.choice(_UNITS)}"
    fields: list[tuple[str, Any]] = [(degrees_key, shown), (sky_key, sky)]
    rng.shuffle(fields)
    if rng.random() < 0.4:
        fields.insert(0, (rng.choice(("city", "location")), city))
    if rng.random() < 0.2:
        fields.append(("unit", "celsius"))
    if rng.random() < 0.15:
        fields.append(("humidity", rng.randint(10, 99)))
    if rng.random() < 0.2:
        return one_of(rng, "{sky}, {n} degrees", "{n} degrees and {sky}", "{sky}, {n}C",
                      "{n} degrees, {sky}", sky=sky, n=str(degrees))  # fmt: skip
    separators = (", ", ": ") if rng.random() < 0.6 else (",", ":")
    return json.dumps(dict(fields), separators=separators)


def weather(form: random.Random, rng: random.Random) -> ToolUse:
    """get_weather, the example that most users try first."""
    city, sky, degrees = place(rng), rng.choice(_CONDITIONS), rng.randint(-15, 40)
    if rng.random() < 0.3:
        sky = sentence(sky)
    elif rng.random() < 0.1:
        sky = made_up_word(rng)
    result = _weather_result(rng, city, sky, degrees)
    answer = f"The weather in {city} is {sky} with {degrees} degrees."
    if rng.random() < 0.12:
        result = _weather_sentence(rng, degrees)
        answer = f"The weather in {city}: {result}"
    key = form.choice(("city", "city", "location", "location", "place", "town"))
    properties = {
        key: text_property(
            form, "The city", "The city name", "City name", "Name of the city",
            "The city to get the weather for", "The city and state, e.g. San Francisco, CA",
        )
    }  # fmt: skip
    arguments: dict[str, Any] = {key: city}
    required: tuple[str, ...] = (key,)
    if form.random() < 0.25:
        properties["unit"] = {"type": "string", "enum": ["celsius", "fahrenheit"]}
        if form.random() < 0.4:
            required = (key, "unit")
            arguments["unit"] = "celsius"
    question = one_of(
        rng,
        "What is the weather in {c}?",
        "What is the weather in {c}?",
        "What's the weather in {c}?",
        "What is the weather like in {c}?",
        "How is the weather in {c}?",
        "How is the weather in {c} today?",
        "What's the weather like in {c} today?",
        "Weather in {c}?",
        "Tell me the weather in {c}.",
        "Is it raining in {c}?",
        "Is it cold in {c}?",
        "What is the temperature in {c}?",
        "Get the weather for {c}.",
        "what's the weather in {c} right now?",
        "Please check the weather in {c}.",
        c=city,
    )
    return ToolUse(
        form.choice(("get_weather", "get_weather", "get_current_weather", "weather", "getWeather")),
        form.choice(
            ("Get the weather", "Get the current weather", "Get the current weather in a city",
             "Get current weather for a city", "Returns the weather of a city",
             "Get the weather for a location", "Get the current weather in a given location",
             "Look up the weather", "")
        ),
        properties, required, question, arguments,
        result,
        answer,
    )  # fmt: skip
