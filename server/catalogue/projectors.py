"""choose_projectors: which projector file of a folder belongs to which of its models."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from llamabind import GgufHeader

ARCHITECTURE: Final = "clip"

_QUANT: Final = re.compile(
    r"[-_.](ud[-_.])?(i?q\d+(_\w+)?|tq\d\w*|b?f16|f32|fp16|fp32|mxfp4\w*|nvfp4)$"
)
_SHARD: Final = re.compile(r"-\d{5}-of-\d{5}$")
_WORD: Final = re.compile(r"mmproj")
_SEPARATORS: Final = re.compile(r"[^a-z0-9]+")
# Names that say nothing about the model: mmproj-model-f16.gguf.
_NAMELESS: Final = frozenset({"", "model", "projector"})
# The first is preferred where one folder has the same projector in several types.
_TYPES: Final = ("f16", "bf16", "q8_0", "f32")


@dataclass(frozen=True, slots=True)
class ProjectorFile:
    """A projector on disk: its path relative to the models directory, and its header."""

    name: str
    path: Path
    header: GgufHeader

    @property
    def n_embd_text(self) -> int | None:
        """The width of the text model's embeddings that it was made for, if the file has it."""
        for key in ("clip.vision.projection_dim", "clip.audio.projection_dim"):
            value = self.header.metadata.get(key)
            if isinstance(value, int) and value > 0:
                return value
        return None


def is_projector_name(name: str) -> bool:
    """Whether a file's name marks it as a projector, as in llama.cpp."""
    return "mmproj" in name.lower()


def choose_projectors(
    models: Mapping[str, GgufHeader | None], projectors: Sequence[ProjectorFile]
) -> dict[str, ProjectorFile]:
    """The projector of each model that has one; all files are in one folder.

    `models` are the headers of those that generate text, by file name; None where it is not known.
    A single model, in any number of quantisations, takes any projector. Several models take those
    with their name; a projector without a name (mmproj-f16.gguf) goes to the model whose embeddings
    have the width of its vectors, if there is only one.
    """
    chosen = {}
    is_single = len({_core(name) for name in models}) == 1
    for name, header in models.items():
        if is_single:
            candidates = list(projectors)
        else:
            named = [item for item in projectors if _is_named_after(item, name, models)]
            candidates = named or [item for item in projectors if _is_only_fit(item, name, models)]
        if candidates:
            chosen[name] = min(candidates, key=lambda item: _rank(item, name, header))
    return chosen


def _is_named_after(
    projector: ProjectorFile, model: str, models: Mapping[str, GgufHeader | None]
) -> bool:
    """Whether the names match, and no other model of that name fits better."""
    matching = [name for name in models if _matches(projector, name)]
    fitting = [name for name in matching if _fits(projector, models[name])]
    return model in (fitting or matching)


def _matches(projector: ProjectorFile, model: str) -> bool:
    own, other = _core(projector.path.name), _core(model)
    if own in _NAMELESS or other in _NAMELESS:
        return False
    return own.startswith(other) or other.startswith(own)


def _is_only_fit(
    projector: ProjectorFile, model: str, models: Mapping[str, GgufHeader | None]
) -> bool:
    if _core(projector.path.name) not in _NAMELESS:
        return False
    fitting = {_core(name) for name, header in models.items() if _fits(projector, header)}
    return fitting == {_core(model)}


def _fits(projector: ProjectorFile, header: GgufHeader | None) -> bool:
    width = header.embedding_length if header else None
    return width is not None and width == projector.n_embd_text


def _rank(
    projector: ProjectorFile, model: str, header: GgufHeader | None
) -> tuple[bool, bool, int, str]:
    """The smallest is the best: the right width, the model's name, the usual type."""
    file_type = _type_of(projector.path.name)
    order = _TYPES.index(file_type) if file_type in _TYPES else len(_TYPES)
    return (
        not _fits(projector, header),
        not _matches(projector, model),
        order,
        projector.name,
    )


def _stem(name: str) -> str:
    return _SHARD.sub("", name.lower().removesuffix(".gguf"))


def _type_of(name: str) -> str:
    found = _QUANT.search(_stem(name))
    return found[2] if found else ""


def _core(name: str) -> str:
    """The name without its extension, type and the word mmproj; letters and digits only."""
    return _SEPARATORS.sub("", _WORD.sub("", _QUANT.sub("", _stem(name))))
