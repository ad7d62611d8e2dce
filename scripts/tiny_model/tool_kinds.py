"""The tools the corpus knows: how they are declared, asked for, answered and summed up."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from tiny_model.phrasing import made_up_word, one_of, person, place, sentence
from tiny_model.tool_use import ToolUse, text_property
from tiny_model.weather_tool import weather


def _time(form: random.Random, rng: random.Random) -> ToolUse:
    city = place(rng)
    key = form.choice(("city", "location", "timezone", "place"))
    clock = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}"
    question = one_of(
        rng,
        "What time is it in {c}?",
        "What is the time in {c}?",
        "Tell me the time in {c}.",
        "What time is it now in {c}?",
        "Current time in {c}?",
        c=city,
    )
    result = clock if rng.random() < 0.4 else json.dumps({"time": clock})
    return ToolUse(
        form.choice(("get_time", "get_current_time", "current_time", "time")),
        form.choice(("Get the time", "Get the current time in a city", "Returns the local time",
                    "Get the current time for a location")),
        {key: text_property(form, "The city", "The place", "City name")},
        (key,), question, {key: city}, result, f"It is {clock} in {city}.",
    )  # fmt: skip


def _sum_tool(form: random.Random, rng: random.Random) -> ToolUse:
    left, right = rng.randint(1, 999), rng.randint(1, 999)
    name, sign, spoken, total = form.choice(
        (
            ("add", "+", "plus", left + right),
            ("multiply", "*", "times", left * right),
            ("subtract", "-", "minus", left - right),
        )
    )
    first, second = form.choice((("a", "b"), ("x", "y"), ("first", "second")))
    kind = form.choice(("integer", "number"))
    question = one_of(
        rng,
        "What is {l} {s} {r}?",
        "What is {l} {w} {r}?",
        "Calculate {l} {s} {r}.",
        "How much is {l} {s} {r}?",
        _ORDERS[name],
        l=str(left), s=sign, w=spoken, r=str(right),
    )  # fmt: skip
    result = str(total) if rng.random() < 0.6 else json.dumps({"result": total})
    return ToolUse(
        form.choice((name, f"{name}_numbers")),
        form.choice((f"{sentence(name)} two numbers", f"{sentence(name)}s two numbers")),
        {first: {"type": kind}, second: {"type": kind}},
        (first, second), question, {first: left, second: right}, result,
        f"{left} {sign} {right} = {total}.",
    )  # fmt: skip


_ORDERS = {
    "add": "Add {l} and {r}.",
    "multiply": "Multiply {l} by {r}.",
    "subtract": "Subtract {r} from {l}.",
}


def _calculator(form: random.Random, rng: random.Random) -> ToolUse:
    left, right = rng.randint(1, 999), rng.randint(1, 999)
    sign = rng.choice("+-*")
    expression = f"{left} {sign} {right}"
    total = {"+": left + right, "-": left - right, "*": left * right}[sign]
    question = one_of(rng, "What is {e}?", "Calculate {e}.", "How much is {e}?", e=expression)
    result = str(total) if rng.random() < 0.6 else json.dumps({"result": total})
    return ToolUse(
        form.choice(("calculator", "calculate", "calc", "evaluate")),
        form.choice(("Evaluate an expression", "A simple calculator", "Calculate a sum",
                    "Evaluate a mathematical expression")),
        {"expression": text_property(form, "The expression", "What to calculate")},
        ("expression",), question, {"expression": expression}, result, f"{expression} = {total}.",
    )  # fmt: skip


def _search(form: random.Random, rng: random.Random) -> ToolUse:
    key = form.choice(("query", "query", "q", "text"))
    topic = " ".join(
        made_up_word(rng) if rng.random() < 0.5 else rng.choice(_TOPICS)
        for _ in range(rng.randint(1, 3))
    )
    found = " ".join(rng.choice(_TOPICS) for _ in range(rng.randint(2, 5)))
    question = one_of(
        rng,
        "Search for {t}.",
        "Search the web for {t}.",
        "Look up {t}.",
        "Find {t}.",
        "Can you search for {t}?",
        "Google {t}.",
        t=topic,
    )
    result = found if rng.random() < 0.5 else json.dumps({"results": [found]})
    return ToolUse(
        form.choice(("search", "web_search", "search_web", "find")),
        form.choice(("Search the web", "Search the internet", "Find pages about a topic")),
        {key: text_property(form, "What to search for", "The search query")},
        (key,), question, {key: topic}, result, f"I found this: {found}",
    )  # fmt: skip


_TOPICS = (
    "cheap", "shoes", "green", "tea", "train", "tickets", "music", "garden", "flowers", "old",
    "books", "winter", "jacket", "news", "about", "llamas", "football", "results", "best", "pizza",
    "blue", "chairs", "fast", "bicycle", "city", "maps", "good", "films", "summer", "holiday",
)  # fmt: skip


def _lookup(form: random.Random, rng: random.Random) -> ToolUse:
    """A new tool: its noun must be matched with the question's noun."""
    noun = form.choice(_NOUNS) if form.random() < 0.75 else made_up_word(form)
    key = form.choice(
        ("name", "id", "city", "country", "user", "item", "symbol", "title", "person")
    )
    subject = rng.choice((person, place))(rng)
    value: str | int = rng.choice(
        (rng.randint(1, 9999), made_up_word(rng), rng.choice(_TOPICS), f"{rng.randint(1, 99)}%")
    )
    question = one_of(
        rng,
        "What is the {n} of {s}?",
        "Tell me the {n} of {s}.",
        "Get the {n} for {s}.",
        "What is the {n} for {s}?",
        n=noun,
        s=subject,
    )
    result = json.dumps({noun: value}) if rng.random() < 0.6 else str(value)
    return ToolUse(
        form.choice(("get_{}", "get_{}", "lookup_{}", "find_{}", "fetch_{}")).format(noun),
        one_of(form, "Get the {n}", "Returns the {n}", "Look up the {n} of a {k}", "Find the {n}",
               n=noun, k=key),
        {key: text_property(form, f"The {key}", f"Name of the {key}")},
        (key,), question, {key: subject}, result, f"The {noun} of {subject} is {value}.",
    )  # fmt: skip


_NOUNS = (
    "price", "population", "score", "distance", "address", "phone", "email", "balance", "status",
    "height", "birthday", "rating", "owner", "size", "speed", "schedule", "mayor", "salary",
    "stock", "news", "order", "level", "color", "age", "rank", "team", "job", "stock_price",
)  # fmt: skip


def _action(form: random.Random, rng: random.Random) -> ToolUse:
    """A tool that does something and reports that it is done."""
    who, text = person(rng), " ".join(rng.choice(_TOPICS) for _ in range(rng.randint(1, 4)))
    to_key, text_key = form.choice((("to", "text"), ("recipient", "message"), ("to", "body")))
    medium = form.choice(("message", "email", "note"))
    question = one_of(
        rng,
        "Send a {m} to {w}: {t}",
        "Send {w} a {m}: {t}",
        "Write a {m} to {w}: {t}",
        m=medium,
        w=who,
        t=text,
    )
    return ToolUse(
        f"send_{medium}",
        form.choice((f"Send a {medium}", f"Sends a {medium} to a person")),
        {to_key: text_property(form, "Who gets it"), text_key: text_property(form, "The text")},
        (to_key, text_key), question, {to_key: who, text_key: text},
        rng.choice(("ok", "sent", '{"status": "ok"}', '{"ok": true}', "done")),
        f"I sent the {medium} to {who}.",
    )  # fmt: skip


def _no_arguments(form: random.Random, rng: random.Random) -> ToolUse:
    noun, question = form.choice(
        (
            ("date", "What is the date today?"),
            ("date", "Which date is it?"),
            ("time", "What time is it?"),
            ("battery", "How full is the battery?"),
            ("battery", "What is the battery level?"),
        )
    )
    value = f"{rng.randint(1, 28)} {rng.choice(('May', 'June', 'March', 'July'))}"
    if noun == "time":
        value = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}"
    elif noun == "battery":
        value = f"{rng.randint(1, 100)}%"
    return ToolUse(
        form.choice(("get_{}", "current_{}", "read_{}")).format(noun),
        f"Get the current {noun}",
        {}, (), question, {},
        value if rng.random() < 0.5 else json.dumps({noun: value}), f"The {noun} is {value}.",
    )  # fmt: skip


_Maker = Callable[[random.Random, random.Random], ToolUse]

# Makers whose questions could be answered by each other's tools share a family.
_FAMILIES: tuple[tuple[tuple[_Maker, ...], int], ...] = (
    ((weather,), 40),
    ((_time, _time, _no_arguments), 13),
    ((_sum_tool, _calculator), 14),
    ((_search,), 9),
    ((_lookup,), 18),
    ((_action,), 6),
)


@dataclass(frozen=True, slots=True)
class ToolKind:
    """A declared tool; `use` gives a new question, call and answer under one declaration."""

    family: int
    maker: _Maker
    form_seed: int

    def use(self, rng: random.Random) -> ToolUse:
        return self.maker(random.Random(self.form_seed), rng)


def tool_kinds(rng: random.Random, count: int) -> list[ToolKind]:
    """Up to `count` declared tools of different families."""
    kinds: list[ToolKind] = []
    weights = [weight for _, weight in _FAMILIES]
    for _ in range(count):
        family = rng.choices(range(len(_FAMILIES)), weights)[0]
        if any(kind.family == family for kind in kinds):
            continue
        kinds.append(ToolKind(family, rng.choice(_FAMILIES[family][0]), rng.getrandbits(32)))
    return kinds
