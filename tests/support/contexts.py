"""Small contexts, and the logits that they compute."""

from typing import Any

import numpy as np

from llamabind.context.batch import Batch
from llamabind.context.context import Context
from llamabind.context.params import ContextParams
from llamabind.native.model import Model

TOKENS = [1, 450, 4996, 17354, 1701, 29916]


def decode(context: Context, tokens: list[int], pos: int = 0, seq_id: int = 0) -> np.ndarray:
    """The logits after the last of these tokens."""
    batch = Batch(512)
    batch.extend(tokens, pos, seq_id, output_last=True)
    context.decode(batch)
    return context.logits(-1).copy()


def make_context(model: Model, **values: Any) -> Context:
    """A context with one thread and, by default, 256 cells."""
    defaults: dict[str, Any] = {"n_ctx": 256, "n_threads": 1, "n_threads_batch": 1}
    return Context(model, ContextParams(**(defaults | values)))
