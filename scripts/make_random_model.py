#!/usr/bin/env python3
"""Makes a GGUF of random Q8_0 weights in the shape of a public model, for benchmarks.

It is as fast as a trained model of the same shape; its text is noise. The vocabulary is gpt-2's
from llama.cpp's source (50,257 tokens), or Llama 3's (128,256) in shapes whose name ends in "128k";
the chat template is ChatML. An answer may end at any token, so send `ignore_eos`.

    scripts/make_random_model.py --shape 135m [FILE]

Without FILE the model is written to the per-user cache, unless it is there already. Prints the
path.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf_writer import (
    Q8_0_BLOCK,
    LazyTensor,
    Value,
    encode_entries,
    tokenizer_entries,
    write_gguf,
)
from llama_source import LlamaSourceError, cache_dir, llama_cpp_source

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

# Uniform levels from -127 to 127 times this scale have a standard deviation of one.
_UNIFORM_STEP = 3**0.5 / 127
_MOSTLY_Q8_0 = 7  # llama_ftype


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """The sizes of a llama-architecture model."""

    n_embd: int = 64
    n_ff: int = 128
    n_layer: int = 2
    n_head: int = 4
    n_head_kv: int = 2
    n_ctx_train: int = 2048
    ties_embeddings: bool = False

    @property
    def n_embd_kv(self) -> int:
        return self.n_embd // self.n_head * self.n_head_kv


SHAPES = {
    # Computes almost nothing, to test the benchmarks themselves.
    "tiny": LlamaShape(n_ctx_train=32768, ties_embeddings=True),
    # SmolLM2-135M, with a context longer than every scenario needs.
    "135m": LlamaShape(576, 1536, 30, 9, 3, 32768, ties_embeddings=True),
    "135m-128k": LlamaShape(576, 1536, 30, 9, 3, 32768, ties_embeddings=True),
    # Llama-3.2-1B and Llama-3.1-8B with gpt-2's vocabulary.
    "1b": LlamaShape(2048, 8192, 16, 32, 8, 131072, ties_embeddings=True),
    "8b": LlamaShape(4096, 14336, 32, 32, 8, 131072),
}

MakeMatrix = Callable[[int, int], np.ndarray | LazyTensor]


def llama_metadata(shape: LlamaShape, n_vocab: int) -> dict[str, Value]:
    """The metadata that llama.cpp needs for a llama, except the vocabulary."""
    return {
        "general.architecture": "llama",
        "general.name": "random",
        "llama.context_length": shape.n_ctx_train,
        "llama.embedding_length": shape.n_embd,
        "llama.block_count": shape.n_layer,
        "llama.feed_forward_length": shape.n_ff,
        "llama.attention.head_count": shape.n_head,
        "llama.attention.head_count_kv": shape.n_head_kv,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": shape.n_embd // shape.n_head,
        "llama.vocab_size": n_vocab,
    }


def llama_tensors(
    shape: LlamaShape, n_vocab: int, matrix: MakeMatrix
) -> dict[str, np.ndarray | LazyTensor]:
    """All tensors of a llama; `matrix(rows, columns)` makes a weight matrix."""
    n_embd, n_ff, n_kv = shape.n_embd, shape.n_ff, shape.n_embd_kv
    norm = np.ones(n_embd, np.float32)
    tensors = {"token_embd.weight": matrix(n_vocab, n_embd), "output_norm.weight": norm}
    if not shape.ties_embeddings:
        tensors["output.weight"] = matrix(n_vocab, n_embd)
    for layer in range(shape.n_layer):
        block = {
            "attn_norm": norm,
            "ffn_norm": norm,
            "attn_q": matrix(n_embd, n_embd),
            "attn_k": matrix(n_kv, n_embd),
            "attn_v": matrix(n_kv, n_embd),
            "attn_output": matrix(n_embd, n_embd),
            "ffn_gate": matrix(n_ff, n_embd),
            "ffn_up": matrix(n_ff, n_embd),
            "ffn_down": matrix(n_embd, n_ff),
        }
        tensors |= {f"blk.{layer}.{name}.weight": tensor for name, tensor in block.items()}
    return tensors


def random_q8_0(random: np.random.Generator) -> MakeMatrix:
    """Random matrices scaled so that a product keeps the mean square of a vector's elements."""

    def matrix(rows: int, columns: int) -> LazyTensor:
        def make() -> np.ndarray:
            blocks = np.empty(shape, Q8_0_BLOCK)
            blocks["scale"] = _UNIFORM_STEP * columns**-0.5
            blocks["quants"] = random.integers(-127, 128, (*shape, 32), np.int8)
            return blocks

        shape = (rows, columns // 32)
        return LazyTensor(Q8_0_BLOCK, shape, make)

    return matrix


def write_random_model(
    path: Path,
    vocab_file: Path,
    shape: LlamaShape,
    *,
    seed: int = 1,
    metadata: Mapping[str, Value] | None = None,
) -> Path:
    """Write a Q8_0 llama with the vocabulary of `vocab_file`; equal seeds make equal files."""
    vocabulary, n_vocab = tokenizer_entries(vocab_file)
    chosen: dict[str, Value] = {
        "general.file_type": _MOSTLY_Q8_0,
        "tokenizer.chat_template": CHATML,
    }
    values = llama_metadata(shape, n_vocab) | chosen | dict(metadata or {})
    tensors = llama_tensors(shape, n_vocab, random_q8_0(np.random.default_rng(seed)))
    return write_gguf(path, encode_entries(values) + vocabulary, tensors)


def random_model(shape_name: str) -> Path:
    """The random model of this shape in the per-user cache, written first if needed."""
    path = cache_dir() / "models" / f"random-{shape_name}-q8_0.gguf"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written under another name and renamed, so that an incomplete file is never used.
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        try:
            _write_shape(unfinished, shape_name)
            unfinished.rename(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path


def _write_shape(path: Path, shape_name: str) -> Path:
    vocabulary = "llama-bpe" if shape_name.endswith("128k") else "gpt-2"
    vocab_file = llama_cpp_source() / "models" / f"ggml-vocab-{vocabulary}.gguf"
    name: dict[str, Value] = {"general.name": f"random {shape_name}"}
    return write_random_model(path, vocab_file, SHAPES[shape_name], metadata=name)


def main() -> int:
    """Print the path; errors go to stderr as one message, with exit status 1."""
    parser = argparse.ArgumentParser(description="make a random model for benchmarks")
    parser.add_argument("--shape", choices=SHAPES, default="135m")
    parser.add_argument("file", type=Path, nargs="?", help="default: in the per-user cache")
    arguments = parser.parse_args()
    try:
        if arguments.file is None:
            print(random_model(arguments.shape))
        else:
            print(_write_shape(arguments.file, arguments.shape))
    except (LlamaSourceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
