"""Small sums, counting and their answers."""

import random

from tiny_model.facts import Exchange
from tiny_model.knowledge import NUMBER_WORDS
from tiny_model.phrasing import one_of, sentence, typed

_LARGEST_TERM = 20
_LARGEST_FACTOR = 10


def _ask(rng: random.Random, left: int, sign: str, spoken: str, right: int) -> str:
    return one_of(
        rng,
        "What is {a} {sign} {b}?",
        "What is {a} {sign} {b}?",
        "What's {a} {sign} {b}?",
        "What is {a} {spoken} {b}?",
        "How much is {a} {sign} {b}?",
        "{a} {sign} {b}",
        "{a} {sign} {b} = ?",
        "{a}{sign}{b}",
        "What is {a}{sign}{b}?",
        "Calculate {a} {sign} {b}.",
        "Can you add up for me: {a} {sign} {b}?" if sign == "+" else "Compute {a} {sign} {b}.",
        a=str(left),
        b=str(right),
        sign=sign,
        spoken=spoken,
    )


def arithmetic(rng: random.Random) -> Exchange:
    """An addition, subtraction or multiplication whose result fits the small tables."""
    kind = rng.choices(("+", "-", "*", "words"), (64, 15, 13, 8))[0]
    if kind == "words":
        left, right = rng.randint(0, 10), rng.randint(0, 10)
        a, b, total = NUMBER_WORDS[left], NUMBER_WORDS[right], NUMBER_WORDS[left + right]
        question = one_of(rng, "What is {a} plus {b}?", "How much is {a} plus {b}?", a=a, b=b)
        return Exchange(typed(rng, question), f"{sentence(a)} plus {b} is {total}.")
    if kind == "*":
        left, right = rng.randint(0, _LARGEST_FACTOR), rng.randint(0, _LARGEST_FACTOR)
        sign = rng.choice(("*", "x"))
        question = _ask(rng, left, sign, "times", right)
        return Exchange(typed(rng, question), f"{left} * {right} = {left * right}.")
    # Single digits are what people try first, so they come up more often.
    largest = 10 if rng.random() < 0.6 else _LARGEST_TERM
    left, right = rng.randint(0, largest), rng.randint(0, largest)
    if kind == "-":
        left, right = max(left, right), min(left, right)
        question = _ask(rng, left, "-", "minus", right)
        return Exchange(typed(rng, question), f"{left} - {right} = {left - right}.")
    question = _ask(rng, left, "+", "plus", right)
    return Exchange(typed(rng, question), f"{left} + {right} = {left + right}.")


def counting(rng: random.Random) -> Exchange:
    """Counting up or down to a small number, in digits as the answer."""
    top = rng.randint(2, 12) if rng.random() < 0.8 else rng.randint(13, 20)
    shown = rng.choice((str(top), NUMBER_WORDS[top]))
    if rng.random() < 0.25:
        question = one_of(rng, "Count down from {n}.", "Count backwards from {n}.", n=shown)
        steps = range(top, 0, -1)
    else:
        question = one_of(
            rng,
            "Count to {n}.",
            "Count to {n}",
            "Count from 1 to {n}.",
            "Can you count to {n}?",
            "Please count to {n}.",
            "Count up to {n}.",
            "Count from one to {n}.",
            n=shown,
        )
        steps = range(1, top + 1)
    return Exchange(typed(rng, question), ", ".join(map(str, steps)) + ".")
