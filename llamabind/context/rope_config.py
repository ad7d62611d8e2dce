"""RopeConfig: scaling of positions, for contexts beyond the training context; pure Python."""

from dataclasses import dataclass, fields
from typing import Any, Final

from llamabind.checks import UINT32_MAX, check_choice, check_float, check_int

ROPE_SCALING_TYPES: Final = ("none", "linear", "yarn", "longrope")

_MAX_FREQUENCY = 1e12
_MAX_FACTOR = 1e6
_YARN_FACTORS = ("yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow")


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeConfig:
    """Scaling of rotary positions, with llama-server's names. Raises InvalidParameterError.

    None, a frequency of 0 and a YaRN factor of -1 mean the model's own value. A `rope_freq_scale`
    below 1 extends the context by its inverse.
    """

    rope_scaling: str | None = None
    rope_freq_base: float = 0.0
    rope_freq_scale: float = 0.0
    yarn_ext_factor: float = -1.0
    yarn_attn_factor: float = -1.0
    yarn_beta_fast: float = -1.0
    yarn_beta_slow: float = -1.0
    yarn_orig_ctx: int = 0

    def __post_init__(self) -> None:
        if self.rope_scaling is not None:
            check_choice("rope_scaling", self.rope_scaling, ROPE_SCALING_TYPES)
        check_float("rope_freq_base", self.rope_freq_base, 0.0, _MAX_FREQUENCY)
        check_float("rope_freq_scale", self.rope_freq_scale, 0.0, _MAX_FREQUENCY)
        for name in _YARN_FACTORS:
            check_float(name, getattr(self, name), -1.0, _MAX_FACTOR)
        check_int("yarn_orig_ctx", self.yarn_orig_ctx, 0, UINT32_MAX)

    def numbers(self) -> dict[str, float]:
        """Return all fields except `rope_scaling`, by their names in llama_context_params."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name != "rope_scaling"
        }

    def changes(self) -> dict[str, Any]:
        """Return all fields by name, None for the model's own value."""
        changed: dict[str, Any] = {"rope_scaling": self.rope_scaling}
        for name, value in self.numbers().items():
            is_own = value < 0 if name in _YARN_FACTORS else value == 0
            changed[name] = None if is_own else value
        return changed
