"""Statements of the user about themselves that later questions in the conversation ask for."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tiny_model.facts import Exchange
from tiny_model.phrasing import one_of, person, place, typed


@dataclass(frozen=True, slots=True)
class Remembered:
    """A statement with its reply, and the later question about it with its reply."""

    topic: str
    told: Exchange
    asked: Exchange


_FAVOURITES = {
    "colour": ("red", "blue", "green", "yellow", "black", "white", "pink", "purple", "orange"),
    "color": ("red", "blue", "green", "yellow", "black", "white", "pink", "purple", "orange"),
    "animal": ("dog", "cat", "horse", "llama", "fox", "owl", "bear", "whale", "penguin"),
    "food": ("pizza", "soup", "bread", "cake", "rice", "cheese", "apples", "pasta"),
    "number": tuple(str(n) for n in range(1, 100)),
}


def _name(rng: random.Random) -> Remembered:
    name = person(rng)
    told = one_of(
        rng,
        "My name is {n}.",
        "My name is {n}.",
        "My name is {n}.",
        "Hi, my name is {n}.",
        "Hello, my name is {n}!",
        "I am {n}.",
        "I'm {n}.",
        "Call me {n}.",
        "Hello, I am {n}.",
        "Hi! I'm {n}.",
        n=name,
    )
    asked = one_of(
        rng,
        "What is my name?",
        "What is my name?",
        "What's my name?",
        "Do you remember my name?",
        "Who am I?",
        "Do you know my name?",
        "Tell me my name.",
    )
    return Remembered(
        "name",
        Exchange(typed(rng, told, keep_case=(name,)), f"Nice to meet you, {name}!"),
        Exchange(typed(rng, asked), f"Your name is {name}."),
    )


def other_reply(rng: random.Random, reply: str) -> str:
    """Another wording of the reply to a name, as a client may have it in its history."""
    name = reply.removeprefix("Nice to meet you, ").removesuffix("!")
    return one_of(
        rng,
        "Hello {n}, how can I help?",
        "Hello, {n}!",
        "Hi {n}!",
        "Hello! How can I help you today?",
        "Nice to meet you.",
        "Nice to meet you, {n}.",
        "Okay.",
        "Hi {n}, what can I do for you today?",
        n=name,
    )


def _favourite(rng: random.Random) -> Remembered:
    kind = rng.choice(list(_FAVOURITES))
    value = rng.choice(_FAVOURITES[kind])
    told = one_of(rng, "My favourite {k} is {v}.", "My favorite {k} is {v}.", k=kind, v=value)
    asked = one_of(
        rng, "What is my favourite {k}?", "What's my favorite {k}?",
        "Do you remember my favourite {k}?", k=kind,
    )  # fmt: skip
    return Remembered(
        f"favourite {kind.replace('colour', 'color')}",
        Exchange(typed(rng, told), f"I will remember that your favourite {kind} is {value}."),
        Exchange(typed(rng, asked), f"Your favourite {kind} is {value}."),
    )


def _home(rng: random.Random) -> Remembered:
    city = place(rng)
    told = one_of(rng, "I live in {c}.", "I am from {c}.", "I come from {c}.", c=city)
    asked = one_of(rng, "Where do I live?", "Which city do I live in?", "Where am I from?")
    return Remembered(
        "home",
        Exchange(typed(rng, told, keep_case=(city,)), f"{city} sounds like a nice place!"),
        Exchange(typed(rng, asked), f"You live in {city}."),
    )


def _age(rng: random.Random) -> Remembered:
    age = str(rng.randint(3, 99))
    told = one_of(rng, "I am {a} years old.", "I'm {a} years old.", a=age)
    asked = one_of(rng, "How old am I?", "What is my age?")
    return Remembered(
        "age",
        Exchange(typed(rng, told), f"{age} is a good age!"),
        Exchange(typed(rng, asked), f"You are {age} years old."),
    )


_KINDS: tuple[tuple[Callable[[random.Random], Remembered], int], ...] = (
    (_name, 70),
    (_favourite, 15),
    (_home, 8),
    (_age, 7),
)


def remembered(rng: random.Random) -> Remembered:
    """A random thing that a user tells and later asks back."""
    makers = [make for make, _ in _KINDS]
    weights = [weight for _, weight in _KINDS]
    return rng.choices(makers, weights)[0](rng)
