"""PresetModel: a model and its settings, as a section of llama-server's INI form describes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from server.hub.reference import ModelReference
from server.protocol.load_settings import LoadSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetModel:
    """One section. `path` is its file, None for a model of the models directory.

    `id` is the model's id in the catalogue, `name` the section's. `companions` are the paths of
    files that `settings` name. A preset with `hub_model` is what the hub's cache has of it.
    """

    id: str
    name: str
    path: Path | None = None
    hub_model: ModelReference | None = None
    hub_file: str | None = None
    settings: LoadSettings = field(default_factory=LoadSettings)
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    load_on_startup: bool = False
    companions: Mapping[str, Path] = field(default_factory=dict)
