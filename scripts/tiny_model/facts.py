"""Questions about the world and their answers, in several phrasings each."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tiny_model import knowledge
from tiny_model.phrasing import article, one_of, sentence, typed


@dataclass(frozen=True, slots=True)
class Exchange:
    """One thing a user says and what the assistant answers."""

    question: str
    answer: str


def capital(rng: random.Random) -> Exchange:
    """A question about a country and its capital."""
    country, city = rng.choice(list(knowledge.CAPITALS.items()))
    if rng.random() < 0.25 and city != "London":
        question = one_of(
            rng,
            "{city} is the capital of which country?",
            "Which country has the capital {city}?",
            "What country is {city} the capital of?",
            city=city,
        )
        return Exchange(typed(rng, question), f"{city} is the capital of {country}.")
    question = one_of(
        rng,
        "What is the capital of {country}?",
        "What is the capital of {country}?",
        "What is the capital of {country}?",
        "What's the capital of {country}?",
        "Tell me the capital of {country}.",
        "Capital of {country}?",
        "Which city is the capital of {country}?",
        "Do you know the capital of {country}?",
        "Name the capital of {country}.",
        "What is the capital city of {country}?",
        country=country,
    )
    return Exchange(typed(rng, question), f"The capital of {country} is {city}.")


def capital_follow_up(rng: random.Random) -> Exchange:
    """A question that makes sense only after another one about a capital."""
    country, city = rng.choice(list(knowledge.CAPITALS.items()))
    question = one_of(
        rng,
        "And of {country}?",
        "And {country}?",
        "What about {country}?",
        "And what is the capital of {country}?",
        "And the capital of {country}?",
        "How about {country}?",
        country=country,
    )
    return Exchange(typed(rng, question), f"The capital of {country} is {city}.")


def _language(rng: random.Random) -> Exchange:
    country, language = rng.choice(list(knowledge.LANGUAGES.items()))
    question = one_of(
        rng,
        "What language do people speak in {country}?",
        "Which language is spoken in {country}?",
        "What is the language of {country}?",
        country=country,
    )
    return Exchange(typed(rng, question), f"People in {country} speak {language}.")


def _colour(rng: random.Random) -> Exchange:
    thing, colour = rng.choice(list(knowledge.COLOURS.items()))
    word = rng.choice(("colour", "color"))
    question = one_of(
        rng,
        "What {word} is {thing}?",
        "What {word} is {thing}?",
        "Which {word} is {thing}?",
        "What is the {word} of {thing}?",
        "Tell me the {word} of {thing}.",
        thing=thing,
        word=word,
    )
    return Exchange(typed(rng, question), f"{sentence(thing)} is {colour}.")


def _animal(rng: random.Random) -> Exchange:
    kind = rng.choice(("sound", "baby", "legs"))
    if kind == "sound":
        animal, sound = rng.choice(list(knowledge.ANIMAL_SOUNDS.items()))
        question = one_of(
            rng, "What does {a} say?", "What sound does {a} make?", "How does {a} sound?",
            a=article(animal),
        )  # fmt: skip
        return Exchange(typed(rng, question), f"{sentence(article(animal))} says {sound}.")
    if kind == "baby":
        animal, baby = rng.choice(list(knowledge.ANIMAL_BABIES.items()))
        question = one_of(
            rng, "What is a baby {animal} called?", "What do you call a baby {animal}?",
            animal=animal,
        )  # fmt: skip
        return Exchange(typed(rng, question), f"A baby {animal} is called {article(baby)}.")
    animal, legs = rng.choice(list(knowledge.ANIMAL_LEGS.items()))
    question = one_of(
        rng, "How many legs does {a} have?", "How many legs has {a}?", a=article(animal)
    )
    return Exchange(typed(rng, question), f"{sentence(article(animal))} has {legs} legs.")


def _opposite(rng: random.Random) -> Exchange:
    word, opposite = rng.choice(list(knowledge.OPPOSITES.items()))
    question = one_of(
        rng,
        "What is the opposite of {word}?",
        "What's the opposite of {word}?",
        "Opposite of {word}?",
        "Tell me the opposite of {word}.",
        word=word,
    )
    return Exchange(typed(rng, question), f"The opposite of {word} is {opposite}.")


def _calendar(rng: random.Random) -> Exchange:
    names, unit = rng.choice(((knowledge.WEEKDAYS, "day"), (knowledge.MONTHS, "month")))
    index = rng.randrange(len(names))
    step, word = rng.choice(((1, "after"), (-1, "before")))
    neighbour = names[(index + step) % len(names)]
    question = one_of(
        rng,
        "What {unit} comes {word} {name}?",
        "Which {unit} comes {word} {name}?",
        "Which {unit} is {word} {name}?",
        "What is the {unit} {word} {name}?",
        unit=unit,
        word=word,
        name=names[index],
    )
    return Exchange(typed(rng, question), f"{neighbour} comes {word} {names[index]}.")


def _list(rng: random.Random) -> Exchange:
    names, unit, group = rng.choice(
        ((knowledge.WEEKDAYS, "days", "week"), (knowledge.MONTHS, "months", "year"))
    )
    question = one_of(
        rng,
        "What are the {unit} of the {group}?",
        "Name the {unit} of the {group}.",
        "List the {unit} of the {group}.",
        unit=unit,
        group=group,
    )
    listed = ", ".join(names[:-1]) + " and " + names[-1]
    return Exchange(typed(rng, question), f"The {unit} of the {group} are {listed}.")


def _definition(rng: random.Random) -> Exchange:
    noun, meaning = rng.choice(list(knowledge.DEFINITIONS.items()))
    question = one_of(
        rng,
        "What is {a}?",
        "What is {a}?",
        "What's {a}?",
        "Tell me about {a}.",
        "Can you explain what {a} is?",
        a=article(noun),
    )
    return Exchange(typed(rng, question), f"{sentence(article(noun))} is {meaning}.")


def _single(rng: random.Random) -> Exchange:
    question, answer = rng.choice(list(knowledge.SINGLE_FACTS.items()))
    if rng.random() < 0.15:
        swaps = (("largest", "biggest"), ("What is", "What's"), ("colours", "colors"))
        for old, new in swaps:
            question = question.replace(old, new)
    elif rng.random() < 0.1:
        question = f"Can you tell me: {question[0].lower()}{question[1:]}"
    return Exchange(typed(rng, question + "?"), answer)


_KINDS: tuple[tuple[Callable[[random.Random], Exchange], int], ...] = (
    (capital, 34),
    (_language, 5),
    (_colour, 8),
    (_animal, 10),
    (_opposite, 9),
    (_calendar, 6),
    (_list, 2),
    (_definition, 6),
    (_single, 20),
)


def fact(rng: random.Random) -> Exchange:
    """A random question about the world with its answer."""
    makers = [make for make, _ in _KINDS]
    weights = [weight for _, weight in _KINDS]
    return rng.choices(makers, weights)[0](rng)
