"""RopeConfig: how positions are scaled, to read further than the model was trained; pure Python."""

from dataclasses import dataclass
from typing import Any

from llamabind.checks import UINT32_MAX, check_choice, check_float, check_int
from llamabind.context_params import ROPE_SCALING_TYPES

_MAX_FREQUENCY = 1e12
_MAX_FACTOR = 1e6
_YARN_FACTORS = ("yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow")


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeConfig:
    """Scaling of rotary positions, in llama-server's words. Raises InvalidParameterError.

    None takes the model's own; so do a frequency of 0 and a YaRN factor of -1. `rope_freq_scale`
    below 1 stretches the context by its inverse.
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

    @property
    def is_own(self) -> bool:
        """Whether nothing is changed."""
        return self == RopeConfig()

    def context_fields(self) -> dict[str, Any]:
        """The fields of ContextParams."""
        return {
            "rope_scaling_type": self.rope_scaling,
            "rope_freq_base": self.rope_freq_base,
            "rope_freq_scale": self.rope_freq_scale,
            "yarn_ext_factor": self.yarn_ext_factor,
            "yarn_attn_factor": self.yarn_attn_factor,
            "yarn_beta_fast": self.yarn_beta_fast,
            "yarn_beta_slow": self.yarn_beta_slow,
            "yarn_orig_ctx": self.yarn_orig_ctx,
        }
