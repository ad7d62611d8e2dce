"""How often the network's greedy answer is exactly the expected one, by kind of question."""

import random
from collections.abc import Callable

import torch

from tiny_model.batches import IGNORED, ExampleMaker, collate
from tiny_model.conversation import Conversation
from tiny_model.corpus import memory_chat, tool_chat
from tiny_model.facts import Exchange, fact
from tiny_model.network import TinyLlama
from tiny_model.numbers import arithmetic, counting
from tiny_model.smalltalk import fixed, repeat, unknown


def _single(make: Callable[[random.Random], Exchange]) -> Callable[[random.Random], Conversation]:
    def conversation(rng: random.Random) -> Conversation:
        exchange = make(rng)
        result = Conversation()
        if rng.random() < 0.5:
            result.system("You are a helpful assistant.")
        result.user(exchange.question)
        result.assistant(exchange.answer)
        return result

    return conversation


_SUBJECTS: dict[str, Callable[[random.Random], Conversation]] = {
    "facts": _single(fact),
    "sums": _single(arithmetic),
    "counting": _single(counting),
    "talk": _single(fixed),
    "unknown": _single(unknown),
    "repeat": _single(repeat),
    "memory": memory_chat,
    "tools": tool_chat,
}


@torch.no_grad()
def exam(network: TinyLlama, maker: ExampleMaker, n_questions: int, seed: int) -> dict[str, float]:
    """The share of assistant turns that are right to the letter.

    Every position is scored given the expected text before it. A turn whose every token is the
    most likely one is what greedy sampling would print, so no text has to be generated.
    """
    scores: dict[str, float] = {}
    for name, make in _SUBJECTS.items():
        rng = random.Random(seed)
        right = total = 0
        for _ in range(n_questions // 16):
            batch = collate([maker.example(make(rng)) for _ in range(16)])
            guesses = network.logits(network(batch.tokens)).argmax(-1)
            for guess, target in zip(guesses, batch.targets, strict=True):
                turns = _turns((guess == target).tolist(), (target != IGNORED).tolist())
                right += sum(turns)
                total += len(turns)
        scores[name] = right / total
    return scores


def _turns(is_right: list[bool], is_learned: list[bool]) -> list[bool]:
    """For each run of learned positions, whether all of them are right."""
    turns: list[bool] = []
    previous = False
    for right, learned in zip(is_right, is_learned, strict=True):
        if learned and not previous:
            turns.append(True)
        if learned:
            turns[-1] = turns[-1] and right
        previous = learned
    return turns
