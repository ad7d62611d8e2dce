"""Conversations as rectangles of token ids, with the targets that count towards the loss."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tiny_model.byte_bpe import Encoder
from tiny_model.conversation import Conversation, learned_turns, render

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation's token ids and, for each, the next token or `IGNORED`."""

    tokens: tuple[int, ...]
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """`tokens` and `targets`, both (rows, time); rows are padded on the right."""

    tokens: Tensor
    targets: Tensor


class ExampleMaker:
    """Turns a conversation into an `Example`: only what the assistant says is learned."""

    def __init__(self, encoder: Encoder, n_ctx: int) -> None:
        self._encoder = encoder
        self._n_ctx = n_ctx
        self._start = encoder.id("<|im_start|>")
        self._end = encoder.id("<|im_end|>")
        self._header = encoder.encode("assistant\n")

    def example(self, conversation: Conversation) -> Example:
        ids = self._encoder.encode(render(conversation))[: self._n_ctx + 1]
        if self._start not in ids:
            return Example(tuple(ids[:-1]), tuple(ids[1:]))
        learned = [False] * len(ids)
        n_header = len(self._header)
        turns = iter(learned_turns(conversation))
        for index, token in enumerate(ids):
            begin = index + 1 + n_header
            if token != self._start or ids[index + 1 : begin] != self._header:
                continue
            is_given = not next(turns)
            for position in range(begin, len(ids)):
                learned[position] = not is_given
                if ids[position] == self._end:
                    break
        targets = (
            token if is_learned else IGNORED
            for token, is_learned in zip(ids[1:], learned[1:], strict=True)
        )
        return Example(tuple(ids[:-1]), tuple(targets))


def collate(examples: Sequence[Example]) -> Batch:
    width = max(len(example.tokens) for example in examples)
    tokens = torch.zeros(len(examples), width, dtype=torch.long)
    targets = torch.full((len(examples), width), IGNORED)
    for row, example in enumerate(examples):
        tokens[row, : len(example.tokens)] = torch.tensor(example.tokens)
        targets[row, : len(example.targets)] = torch.tensor(example.targets)
    return Batch(tokens, targets)


def batches(examples: Iterable[Example], n_tokens: int, seed: int) -> list[Batch]:
    """Batches of about `n_tokens` each, in random order; neighbours in length share one."""
    ordered = sorted(examples, key=lambda example: (len(example.tokens), example.tokens))
    groups: list[list[Example]] = [[]]
    for example in ordered:
        if groups[-1] and (len(groups[-1]) + 1) * len(example.tokens) > n_tokens:
            groups.append([])
        groups[-1].append(example)
    random.Random(seed).shuffle(groups)
    return [collate(group) for group in groups]
