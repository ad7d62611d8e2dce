"""Trains the bundled demo model from scratch: `python scripts/train_tiny_model.py`.

The seed determines everything: the text, the vocabulary, the initial weights and the order of the
batches. Needs the `train` extra (`pip install .[train]`) and half an hour of two cores.
"""

import argparse
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tiny_model.batches import Batch, ExampleMaker, batches
from tiny_model.byte_bpe import Encoder, train_vocabulary
from tiny_model.conversation import Conversation, render
from tiny_model.copying import lay_copying_circuit
from tiny_model.corpus import conversations, primer
from tiny_model.exam import exam
from tiny_model.gguf_export import write_gguf
from tiny_model.network import NetworkShape, TinyLlama
from tiny_model.training import TrainingPlan, train

_OUTPUT = Path(__file__).parent.parent / "llamabind" / "models" / "tiny-chat.gguf"
_VOCABULARY_TEXTS = 6_000
_BATCH_TOKENS = 1024
_PRIMER_SHARE = 0.15


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=_OUTPUT, help="GGUF file to write")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vocabulary", type=int, default=2048, help="number of tokens")
    parser.add_argument("--tokens", type=float, default=4.4e6, help="tokens to train on")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=128, help="embedding length")
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--feed-forward", type=int, default=352)
    parser.add_argument("--checkpoint", type=Path, help="also save the weights here while training")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def _phase(
    maker: ExampleMaker, stream: Iterator[Conversation], n_tokens: float, seed: int
) -> list[Batch]:
    """The next `n_tokens` of the training text, as batches."""
    examples = []
    while n_tokens > 0:
        examples.append(maker.example(next(stream)))
        n_tokens -= len(examples[-1].tokens)
    return batches(examples, _BATCH_TOKENS, seed)


def _training_batches(maker: ExampleMaker, seed: int, n_tokens: float) -> list[Batch]:
    n_primer = n_tokens * _PRIMER_SHARE
    return [
        *_phase(maker, primer(seed + 1), n_primer, seed),
        *_phase(maker, conversations(seed + 2), n_tokens - n_primer, seed),
    ]


def main() -> None:
    arguments = _arguments()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    started = time.monotonic()

    def report(message: str) -> None:
        print(f"[{time.monotonic() - started:6.0f} s] {message}", flush=True)

    texts = map(render, itertools.islice(conversations(arguments.seed), _VOCABULARY_TEXTS))
    vocabulary = train_vocabulary(texts, arguments.vocabulary)
    report(f"vocabulary of {len(vocabulary.tokens)} tokens")
    shape = NetworkShape(
        n_vocab=len(vocabulary.tokens),
        n_embd=arguments.width,
        n_layer=arguments.layers,
        n_head=arguments.heads,
        n_ff=arguments.feed_forward,
    )
    maker = ExampleMaker(Encoder(vocabulary), shape.n_ctx)
    data = _training_batches(maker, arguments.seed, arguments.tokens)
    network = TinyLlama(shape)
    lay_copying_circuit(network)
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    report(f"{len(data)} batches, {n_parameters} parameters")

    def grade(step: int) -> None:
        is_last = step == len(data)
        if step % 400 and not is_last:
            return
        scores = exam(network, maker, 320 if is_last else 32, arguments.seed + 3)
        report("  ".join(f"{name} {score:.3f}" for name, score in scores.items()))
        if arguments.checkpoint:
            torch.save(network.state_dict(), arguments.checkpoint)

    train(network, data, TrainingPlan(), report, grade)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_gguf(arguments.output, network, vocabulary)
    report(f"wrote {arguments.output} ({arguments.output.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
