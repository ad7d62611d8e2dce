"""DraftHeads: the heads of a model file that predict the tokens after the next one (MTP)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamabind.gguf.header import read_gguf_shapes
from llamabind.gguf.known_header import known_gguf_header

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

HEAD_ARCHITECTURES = frozenset(
    {
        "bailingmoe3",
        "cohere2moe",
        "deepseek2",
        "deepseek32",
        "glm-dsa",
        "glm4moe",
        "glm5-next",
        "hy_v3",
        "mimo2",
        "nemotron_h_moe",
        "qwen35",
        "qwen35moe",
        "qwen3next",
        "step35",
    }
)
"""Architectures whose heads the pinned llama.cpp computes (LLM_GRAPH_TYPE_DECODER_MTP).

All but deepseek4, whose memory cannot be cut and is copied only as a whole.
"""

AUTOMATIC = frozenset({"glm4moe", "hy_v3", "qwen35", "qwen35moe"})
"""Those that our tests compute, and that are used without being asked for.

Where a graph of llama.cpp aborts, a model would fail to load that works without its heads.
"""

_SEVERAL_HEADS = frozenset({"hy_v3", "mimo2", "step35"})
"""Those whose graphs accept a file with several heads; only the first of them is used."""

_NEEDED = ("nextn.eh_proj", "nextn.enorm", "nextn.hnorm")


@dataclass(frozen=True, slots=True)
class DraftHeads:
    """The `n_heads` heads that a file's metadata names.

    `is_alone` says that the file has nothing but heads, for use as a draft model. `problem` says
    why they cannot be used; None if they can. Native code aborts on some such files. With
    `is_automatic` they are used by default.
    """

    n_heads: int
    is_alone: bool = False
    problem: str | None = None
    is_automatic: bool = False


def find_draft_heads(shards: Iterable[Path]) -> DraftHeads | None:
    """Return the heads of a model file, given as all its shards; None for a model without heads.

    Raises GgufError.
    """
    files = list(shards)
    header = known_gguf_header(files[0])
    architecture = header.architecture or ""
    n_heads = header.metadata.get(f"{architecture}.nextn_predict_layers", 0)
    if not isinstance(n_heads, int) or n_heads < 1:
        return None
    tensors = {name for file in files for name in read_gguf_shapes(file)}
    is_alone = "blk.0.attn_norm.weight" not in tensors
    problem = None
    if architecture not in HEAD_ARCHITECTURES:
        problem = f"this llama.cpp does not compute the draft heads of {architecture} models"
    elif n_heads > 1 and architecture not in _SEVERAL_HEADS:
        problem = f"this llama.cpp computes one draft head of {architecture} models, not {n_heads}"
    else:
        first = (header.block_count or 0) - n_heads
        missing = [
            name
            for name in (f"blk.{first}.{part}.weight" for part in _NEEDED)
            if name not in tensors
        ]
        if missing:
            problem = f"the file names {n_heads} draft heads but has no tensor {missing[0]}"
    is_automatic = architecture in AUTOMATIC and not is_alone and problem is None
    return DraftHeads(n_heads, is_alone, problem, is_automatic)
