"""file_settings: the load settings that a model's own file and the files beside it imply."""

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from llamabind import GgufHeader
from llamabind.errors import InvalidParameterError
from llamabind.gguf.purpose import purpose_of
from llamabind.sampling.params import sampler_names
from server.catalogue.model_file import ModelFile
from server.protocol.load_settings import LoadSettings
from server.protocol.sampling_defaults import SamplingDefaults

logger = logging.getLogger(__name__)

# The keys behind "general.sampling." that llama.cpp reads (common_init_sampler_from_model), and the
# fields that they set.
_NUMBERS: Final[Mapping[str, tuple[str, Callable[[float], float]]]] = {
    "top_k": ("top_k", int),
    "top_p": ("top_p", float),
    "min_p": ("min_p", float),
    "xtc_probability": ("xtc_probability", float),
    "xtc_threshold": ("xtc_threshold", float),
    "temp": ("temperature", float),
    "penalty_last_n": ("repeat_last_n", int),
    "penalty_repeat": ("repeat_penalty", float),
    "mirostat": ("mirostat", int),
    "mirostat_tau": ("mirostat_tau", float),
    "mirostat_eta": ("mirostat_eta", float),
}
_PREFIX: Final = "general.sampling."


def file_settings(file: ModelFile) -> LoadSettings:
    """Settings that apply unless the server's configuration or a request sets them.

    An embedding model or reranker is loaded as such; any other model takes the projector beside it
    and the sampling that its file recommends.
    """
    purpose = "generation" if file.header is None else purpose_of(file.header)
    if purpose != "generation":
        return LoadSettings(embedding=True, pooling="rank" if purpose == "rerank" else None)
    return LoadSettings(
        mmproj=file.projector.name if file.projector else None,
        sampling=None if file.header is None else _sampling(file.id, file.header),
    )


def _sampling(model_id: str, header: GgufHeader) -> SamplingDefaults | None:
    """The recommended sampling; values that are out of range are left out with a log line."""
    values: dict[str, Any] = {}
    for key, (name, kind) in _NUMBERS.items():
        number = _number(header.metadata.get(f"{_PREFIX}{key}"))
        if number is not None:
            values[name] = kind(number)
    sequence = header.metadata.get(f"{_PREFIX}sequence")
    if isinstance(sequence, str):
        values["samplers"] = _known_samplers(sequence)
    kept = {}
    for name, value in values.items():
        try:
            SamplingDefaults(**{name: value})
            kept[name] = value
        except InvalidParameterError as error:
            logger.warning("model %s: its header's %s is not used", model_id, error)
    try:
        return SamplingDefaults(**kept) if kept else None
    except InvalidParameterError as error:
        logger.warning("model %s: its header's %s", model_id, error)
        return None


def _number(value: object) -> float | None:
    """The number of a metadata value; text is read as llama.cpp reads it."""
    with suppress(TypeError, ValueError):
        number = float(value)  # type: ignore[arg-type] # a wrong type is a TypeError
        return number if math.isfinite(number) else None
    return None


def _known_samplers(sequence: str) -> tuple[str, ...] | None:
    """The samplers of a list such as "top_k;temperature"; unknown names are dropped."""
    found: list[str] = []
    for name in sequence.split(";"):
        with suppress(InvalidParameterError):
            found += sampler_names([name.strip()])
    return tuple(found) or None
