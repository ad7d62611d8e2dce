"""Presets: the models of --models-preset, and the settings of single models from either file."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from server.catalogue.model_settings import ModelSettings
from server.catalogue.preset_model import PresetModel
from server.hub.cache import HubCache
from server.hub.cached import find_cached
from server.protocol.load_settings import LoadSettings


class Presets(Mapping[str, Path]):
    """The current presets, which `replace` changes; as a mapping, the files that they name.

    Settings of a preset go before those of --config for the same model.
    """

    def __init__(
        self,
        models: Mapping[str, PresetModel],
        known: ModelSettings | None = None,
        cache: HubCache | None = None,
    ) -> None:
        """`cache` is that of the hub, where presets with a model of the hub have their files."""
        self._cache = cache
        self._models = dict(models)
        self._known = known or ModelSettings()

    def __getitem__(self, name: str) -> Path:
        for preset in self._models.values():
            if name in preset.companions:
                return preset.companions[name]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for preset in self._models.values() for name in preset.companions)

    def __len__(self) -> int:
        return sum(len(preset.companions) for preset in self._models.values())

    @property
    def aliases(self) -> dict[str, str]:
        """The model id of each alias, names of sections included."""
        named = {
            name: preset.id
            for preset in self._models.values()
            for name in (preset.name, *preset.aliases)
            if name != preset.id
        }
        return {**self._known.aliases, **named}

    @property
    def loaded_on_startup(self) -> tuple[str, ...]:
        """The models to load when the server starts."""
        return tuple(one.id for one in self._models.values() if one.load_on_startup)

    def find(self, model_id: str) -> PresetModel | None:
        """The preset of a model."""
        return self._models.get(model_id)

    def files(self) -> dict[str, Path | str]:
        """The files of presets that name one, by model id; a sentence for one that is not there.
        Blocking: use a thread.
        """
        found: dict[str, Path | str] = {}
        for one in tuple(self._models.values()):
            if one.path is not None:
                found[one.id] = one.path
            elif one.hub_model is not None:
                path = (
                    find_cached(self._cache, one.hub_model, one.hub_file) if self._cache else None
                )
                found[one.id] = path or (
                    f"{one.hub_model} is not in the hub's cache; download it with "
                    "POST /api/v2/downloads"
                )
        return found

    def settings_of(
        self, model_id: str, base: LoadSettings, implied: LoadSettings | None = None
    ) -> LoadSettings:
        """The settings of a load of the model, over `base`, over those that its file implies."""
        settings = self._known.of(model_id, base, implied)
        preset = self._models.get(model_id)
        return settings if preset is None else preset.settings.over(settings)

    def replace(self, models: Mapping[str, PresetModel]) -> set[str]:
        """Use other presets; returns the ids of models whose preset is gone or has changed."""
        old, self._models = self._models, dict(models)
        return {model_id for model_id, one in old.items() if self._models.get(model_id) != one}
