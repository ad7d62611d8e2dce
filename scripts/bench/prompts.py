"""Prompts of a known length in tokens: words that are one token each in every common vocabulary."""

import random

_TEXT = """
time year people way day man thing woman life child world school state family student group
country problem hand part place case week company system program question work government
number night point home water room mother area money story fact month lot right study book
eye job word business issue side kind head house service friend father power hour game line
end member law car city community name president team minute idea body information back
parent face level office door health person art war history party result change morning
reason research girl moment air teacher force education foot boy age policy music market
"""
_WORDS = _TEXT.split()


def words(n: int, *seed: int | str) -> str:
    """`n` words; another seed gives another text from the first words on."""
    source = random.Random(" ".join(map(str, seed)))
    return " ".join(source.choices(_WORDS, k=n))


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}
