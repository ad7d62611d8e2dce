"""The random model for the checks."""

from pathlib import Path

from llama_source import ROOT
from make_random_model import SHAPES, random_model, write_random_model

TINY = ROOT / "llamabind" / "models" / "tiny-chat.gguf"
VOCABULARY = "ggml-vocab-gpt-2.gguf"


def make_model(shape: str, folder: Path, package: Path | None) -> Path:
    """A random model of this shape. With a package its vocabulary is used, because a machine that
    only has the package cannot fetch llama.cpp's source.
    """
    vocabulary = None if package is None else package / VOCABULARY
    if vocabulary is None or not vocabulary.is_file():
        return random_model(shape)
    path = folder / f"random-{shape}.gguf"
    return write_random_model(path, vocabulary, SHAPES[shape])
