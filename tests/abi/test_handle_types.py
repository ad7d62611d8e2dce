"""mypy strict reports a handle of the wrong type."""

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.abi

PREAMBLE = """
from llamabind._capi import llama
from llamabind._capi.enums import llama_split_mode
from llamabind._capi.types import ContextHandle, ModelHandle, ggml_log_callback, llama_batch
from llamabind._capi.types import llama_progress_callback

def use(model: ModelHandle, context: ContextHandle, batch: llama_batch) -> None:
"""

# Each line with the message that mypy must report; None for no message.
LINES = [
    ("llama.llama_decode(context, batch)", None),
    ("llama.llama_decode(model, batch)", '"ModelHandle"; expected "ContextHandle"'),
    ("llama.llama_decode(4711, batch)", '"int"; expected "ContextHandle"'),
    ("llama.llama_decode(context)", "Too few arguments"),
    ("llama.llama_decode(ctx=context, batch=batch)", "Unexpected keyword argument"),
    (
        "llama.llama_n_ctx(llama.llama_get_model(context))",
        '"ModelHandle"; expected "ContextHandle"',
    ),
    ("llama.llama_model_n_embd(llama.llama_get_model(context))", None),
    ("llama.llama_memory_can_shift(llama.llama_get_memory(context))", '"MemoryHandle | None"'),
    ("llama.llama_model_chat_template(model, 'tool_use')", '"str"; expected "bytes | None"'),
    ("llama.llama_log_set(ggml_log_callback(print), None)", None),
    ("llama.llama_log_set(llama_progress_callback(print), None)", '"llama_progress_callback"'),
    ("llama.llama_numa_init(llama_split_mode.LLAMA_SPLIT_MODE_ROW)", '"ggml_numa_strategy"'),
]


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """mypy's messages by index into LINES."""
    snippet = tmp_path_factory.mktemp("mypy") / "snippet.py"
    snippet.write_text(PREAMBLE + "\n".join(f"    {line}" for line, _ in LINES) + "\n")
    # scripts/check may be writing mypy's cache.
    uncached = ("--no-incremental", "--cache-dir", os.devnull)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *uncached]
    command.append(str(snippet))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    first = PREAMBLE.count("\n") + 1
    found: dict[int, str] = {}
    for line in done.stdout.splitlines():
        path, number, message = line.split(":", 2)
        assert path.endswith(snippet.name), line
        found[int(number) - first] = message
    return found


@pytest.mark.parametrize("index", range(len(LINES)), ids=[line for line, _ in LINES])
def test_mypy_reports_the_expected_message(index: int, complaints: dict[int, str]) -> None:
    expected = LINES[index][1]
    if expected is None:
        assert index not in complaints
    else:
        assert expected in complaints[index]
