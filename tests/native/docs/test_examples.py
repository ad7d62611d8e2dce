"""The Python examples of README.md and docs/library.md run as they are written."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from llamabind import read_gguf_header
from tests.support.paths import ROOT
from tests.support.png_file import png
from tests.support.random_bert import BertShape, write_random_bert
from tests.support.random_clip import write_random_clip

pytestmark = pytest.mark.native

BUNDLED = Path("llamabind/models/tiny-chat.gguf")
MEAN, RANK = 1, 4


@pytest.fixture
def reader_dir(tmp_path, vocab_dir, monkeypatch) -> Path:
    """A folder with every file that the documents name."""
    vocab = vocab_dir / "ggml-vocab-bert-bge.gguf"
    write_random_bert(tmp_path / "encoder.gguf", vocab, MEAN)
    write_random_bert(tmp_path / "reranker.gguf", vocab, RANK, BertShape(n_scores=1))
    (tmp_path / BUNDLED).parent.mkdir(parents=True)
    shutil.copy(ROOT / BUNDLED, tmp_path / BUNDLED)
    width = read_gguf_header(ROOT / BUNDLED).embedding_length
    assert width is not None
    write_random_clip(tmp_path / "mmproj.gguf", width)
    (tmp_path / "cat.png").write_bytes(png(np.zeros((8, 8, 3), np.uint8)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _examples(document: Path) -> list[tuple[int, str]]:
    """The line number and the code of each example."""
    text = document.read_text()
    return [
        (text[: match.start(1)].count("\n"), match[1])
        for match in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    ]


@pytest.mark.parametrize("document", [ROOT / "docs" / "library.md", ROOT / "README.md"])
def test_the_examples_of_a_document_run_from_top_to_bottom(document, reader_dir):
    examples = _examples(document)
    assert examples
    names: dict[str, object] = {"__name__": "example"}
    for line, code in examples:
        # Tracebacks name the document's own line.
        program = compile("\n" * line + code, str(document), "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(program, names)
        promised = re.findall(r"^#> (.*)$", code, re.MULTILINE)
        if promised:
            assert printed.getvalue().splitlines() == promised, f"{document.name}, line {line}"
