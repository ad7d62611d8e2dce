"""Short stories from a small grammar: one hero, one wish, one trouble, one helper, one end."""

import random
from dataclasses import dataclass

from tiny_model.facts import Exchange
from tiny_model.phrasing import FIRST_NAMES, article, typed


@dataclass(frozen=True, slots=True)
class _Plot:
    """What the hero wants, what goes wrong, and how it ends; `{h}` hero, `{f}` helper."""

    wish: str
    trouble: str
    rescue: str
    ending: str


_HEROES = (
    "fox", "rabbit", "bear", "cat", "dog", "mouse", "bird", "frog", "owl", "horse", "llama",
    "duck", "hedgehog", "squirrel", "elephant", "lion", "dragon", "robot", "girl", "boy",
)  # fmt: skip
_TRAITS = ("little", "small", "brave", "kind", "curious", "clever", "young", "happy", "shy")
_HOMES = (
    "in a green forest", "near a big river", "on a small farm", "in a quiet village",
    "at the edge of the sea", "on a high mountain", "in a warm house", "under an old tree",
)  # fmt: skip
_MORNINGS = (
    "One sunny morning", "One day", "One cold winter day", "One rainy day", "One quiet evening",
)  # fmt: skip
_PLOTS = (
    _Plot(
        "wanted to find a red ball that was lost",
        "looked under the trees and behind the stones, but the ball was not there",
        "had seen the ball in the water and brought it back",
        "they played with the ball until the sun went down",
    ),
    _Plot(
        "wanted to see the stars from the top of a hill",
        "walked for a long time, but the way was dark and the hill was steep",
        "knew a safe path and carried a small lamp",
        "they sat on the top of the hill and counted the stars",
    ),
    _Plot(
        "wanted to bake a cake for a friend",
        "looked into the kitchen, but there was no sugar and no milk",
        "had some milk and some sugar and was happy to share",
        "they ate the cake together and sang a song",
    ),
    _Plot(
        "wanted to cross the river and visit a friend",
        "saw that the bridge was broken and the water was deep",
        "found a big log and pushed it over the river",
        "they crossed the river and had tea on the other side",
    ),
    _Plot(
        "found a tiny seed and wanted to grow a flower",
        "waited for many days, but nothing came out of the ground",
        "said that a seed needs water and sun and a little time",
        "a yellow flower opened its leaves and everybody was glad",
    ),
    _Plot(
        "wanted to learn how to swim",
        "jumped into the lake, but the water was too cold and too deep",
        "showed how to swim slowly, close to the shore",
        "they swam together every day until the end of summer",
    ),
    _Plot(
        "wanted to build a boat and sail away",
        "worked hard, but the boat had a hole and began to sink",
        "closed the hole with a piece of wood",
        "they sailed around the island and came home for supper",
    ),
    _Plot(
        "heard a strange sound and wanted to know what it was",
        "was afraid, because the sound came out of a dark cave",
        "went into the cave too and held a bright light",
        "they found a little bell that was ringing in the wind",
    ),
)
_HELPERS = (
    "an old turtle", "a wise owl", "a friendly bee", "a tall giraffe", "a quick rabbit",
    "a gentle cow", "a small mouse", "a merry duck", "a strong horse", "a kind old woman",
)  # fmt: skip
_MORALS = (
    "From that day on, they were good friends.",
    "And they lived happily ever after.",
    "It was the best day of all.",
    "That night, everybody slept well.",
)


def _requested_hero(rng: random.Random) -> tuple[str, str]:
    hero = rng.choice(_HEROES)
    trait = rng.choice(_TRAITS)
    return hero, f"{trait} {hero}"


def story(rng: random.Random, hero: str | None = None) -> str:
    """One whole story; the same hero, helper and wish all the way through."""
    if hero is None:
        hero, described = _requested_hero(rng)
    else:
        described = f"{rng.choice(_TRAITS)} {hero}"
    named = rng.choice(FIRST_NAMES[:40]) if rng.random() < 0.5 else ""
    plot = rng.choice(_PLOTS)
    helper = rng.choice([each for each in _HELPERS if not each.endswith(hero)])
    helper_again = "the " + helper.split(" ", 1)[1]
    subject = named or f"the {hero}"
    opening = f"Once upon a time, there was {article(described)}"
    if named:
        opening += f" named {named}"
    home = rng.choice(_HOMES)
    pronoun = "who lived" if hero in ("girl", "boy") else "that lived"
    opening += f" {pronoun} {home}." if not named else f". {named} lived {home}."
    upper = subject[0].upper() + subject[1:]
    return (
        f"{opening} {rng.choice(_MORNINGS)}, {subject} {plot.wish}. "
        f"{upper} {plot.trouble}. Then {helper} came along. "
        f'"Can you help me?" asked {subject}. "Of course," said {helper_again}. '
        f"{helper_again[0].upper()}{helper_again[1:]} {plot.rescue}. "
        f'"Thank you!" said {subject}. In the end, {plot.ending}. {rng.choice(_MORALS)}'
    )


def story_exchange(rng: random.Random) -> Exchange:
    """A wish for a story, with or without a hero, and the story."""
    if rng.random() < 0.5:
        question = rng.choice(
            ("Tell me a story", "Tell me a story", "Tell me a story.", "Tell me a short story.",
             "Can you tell me a story?", "A story, please!", "Write a story.",
             "Tell me another story.", "Write me a short story.", "Tell a story")
        )  # fmt: skip
        return Exchange(typed(rng, question), story(rng))
    hero = rng.choice(_HEROES)
    pattern = rng.choice(
        ("Tell me a story about {}.", "Write a story about {}.", "Tell me a story about {}",
         "Can you tell me a story about {}?", "I want a story about {}.")
    )  # fmt: skip
    return Exchange(typed(rng, pattern.format(article(hero))), story(rng, hero))
