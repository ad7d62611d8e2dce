"""Small random choices every part of the corpus shares: words, made-up names, sloppy typing."""

import random
from collections.abc import Sequence

FIRST_NAMES = (
    "Alice", "Bob", "Carol", "David", "Emma", "Frank", "Grace", "Henry", "Ivan", "Julia", "Karl",
    "Laura", "Maria", "Nina", "Oscar", "Peter", "Quinn", "Rosa", "Sam", "Tom", "Uma", "Victor",
    "Wendy", "Xavier", "Yara", "Zoe", "Anna", "Ben", "Clara", "Daniel", "Eva", "Felix", "George",
    "Hannah", "Isabel", "Jack", "Kate", "Leo", "Mia", "Noah", "Olivia", "Paul", "Ruth", "Sarah",
    "Tim", "Lucy", "Max", "Ella", "John", "Mary", "James", "Sophie", "Ali", "Omar", "Priya", "Wei",
    "Yuki", "Igor", "Olga", "Dmitri", "Sergei", "Natasha", "Ahmed", "Fatima", "Carlos", "Diego",
    "Lars", "Ingrid", "Pierre", "Marie", "Hans", "Greta", "Luca", "Giulia", "Michael", "Robert",
    "William", "Charlie", "Amy", "Jane", "Linda", "Mark", "Nick", "Steve", "Susan", "Thomas",
)  # fmt: skip

CITIES = (
    "Paris", "Berlin", "Rome", "Madrid", "Lisbon", "London", "Dublin", "Oslo", "Stockholm",
    "Helsinki", "Warsaw", "Vienna", "Brussels", "Amsterdam", "Athens", "Budapest", "Prague",
    "Kyiv", "Moscow", "Cairo", "Nairobi", "Delhi", "Beijing", "Tokyo", "Seoul", "Bangkok",
    "Sydney", "Toronto", "New York", "Boston", "Chicago", "San Francisco", "Los Angeles",
    "Seattle", "Denver", "Austin", "Mexico City", "Havana", "Lima", "Munich", "Hamburg", "Milan",
    "Naples", "Barcelona", "Porto", "Geneva", "Zurich", "Lyon", "Marseille", "Glasgow",
    "Manchester", "Mumbai", "Shanghai", "Singapore", "Dubai", "Istanbul", "Minsk", "Riga",
    "S\u00e3o Paulo", "Z\u00fcrich", "M\u00e1laga", "K\u00f6ln", "Krak\u00f3w", "Malm\u00f6",
    "Reykjavik",
)  # fmt: skip

_ONSETS = (
    "b", "br", "c", "ch", "cl", "d", "dr", "f", "fr", "g", "gr", "h", "j", "k", "kr", "l", "m",
    "n", "p", "pl", "qu", "r", "s", "sh", "sk", "st", "t", "th", "tr", "v", "w", "x", "y", "z", "",
)  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "ee", "io", "oo", "ou", "y")
_FOREIGN = (
    "aeioubdklmnrst\u00e1\u00e9\u00ed\u00f3\u00fa\u00e4\u00f6\u00fc\u00df\u00e7\u00f1\u00f8\u00e5\u00e8\u0142\u0159\u0161\u017e"
    + "".join(map(chr, range(0x430, 0x450)))
)
_CODAS = ("", "", "", "b", "ck", "d", "g", "l", "ll", "m", "n", "ng", "r", "rt", "s", "t", "x", "z")


def made_up_word(rng: random.Random) -> str:
    """A pronounceable lower-case word that (almost) no table holds: it can only be copied."""
    if rng.random() < 0.15:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 8)))
    if rng.random() < 0.08:
        return "".join(rng.choice(_FOREIGN) for _ in range(rng.randint(2, 6)))
    parts = (
        rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS)
        for _ in range(rng.randint(1, 3))
    )
    return "".join(parts)


def person(rng: random.Random) -> str:
    """A first name, half of the time one that was never seen before."""
    name = rng.choice(FIRST_NAMES) if rng.random() < 0.5 else made_up_word(rng).capitalize()
    if rng.random() < 0.12:
        name += " " + rng.choice((rng.choice(FIRST_NAMES), made_up_word(rng).capitalize()))
    return name.lower() if rng.random() < 0.06 else name


def place(rng: random.Random) -> str:
    """A city, half of the time a made-up one."""
    name = rng.choice(CITIES) if rng.random() < 0.5 else made_up_word(rng).capitalize()
    if rng.random() < 0.05:
        name = rng.choice(("New ", "Port ", "San ", "Saint ", "North ")) + name
    return name.lower() if rng.random() < 0.06 else name


def article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def sentence(text: str) -> str:
    """The text with its first letter upper case."""
    return text[:1].upper() + text[1:]


def one_of(rng: random.Random, *patterns: str, **fields: str) -> str:
    return rng.choice(patterns).format(**fields)


def typed(rng: random.Random, question: str, *, keep_case: Sequence[str] = ()) -> str:
    """The question as people type it: casing, marks, a greeting or a please around it.

    Words in `keep_case` keep their letters, since the answer must copy them.
    """
    text = question
    if rng.random() < 0.12:
        text = text.rstrip("?.!")
    if rng.random() < 0.14:
        lowered = text.lower()
        for word in keep_case:
            lowered = lowered.replace(word.lower(), word)
        text = lowered
    elif rng.random() < 0.02 and not keep_case:
        text = text.upper()
    roll = rng.random()
    if roll < 0.05:
        text = (
            rng.choice(
                ("Please tell me: ", "Hi! ", "Hello, ", "Hey, ", "Okay. ", "Thanks! ", "Great! ")
            )
            + text
        )
    elif roll < 0.08:
        text = text.rstrip("?.!") + rng.choice((", please?", " please", "??", "? Thanks!"))
    return text
