"""Makes speculative decoding as an EngineConfig asks for it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from llamabind.ngram_draft import NgramDrafter
from llamabind.speculation import Speculation

if TYPE_CHECKING:
    from llamabind.engine_config import EngineConfig
    from llamabind.engine_core import EngineShape
    from llamabind.model import Model

logger = logging.getLogger(__name__)


def make_speculation(model: Model, shape: EngineShape, config: EngineConfig) -> Speculation | None:
    """Return what guesses for the engine of `model`, or None where nothing is to be guessed."""
    if config.speculation == "off":
        return None
    if not shape.is_cuttable:
        logger.warning(
            "speculative decoding is off: the memory of %s models cannot be cut at any position",
            model.architecture,
        )
        return None
    drafter = NgramDrafter(config.ngram_size)
    return Speculation(drafter, n_max=config.max_draft, n_min=config.draft_min)
