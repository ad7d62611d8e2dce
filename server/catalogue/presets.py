"""Presets: the models of --models-preset, and the settings of single models from either file."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from server.catalogue.model_settings import ModelSettings
from server.catalogue.preset_model import PresetModel
from server.protocol.load_settings import LoadSettings


class Presets(Mapping[str, Path]):
    """The current presets, which `replace` changes; as a mapping, the files that they name.

    Settings of a preset go before those of --config for the same model.
    """

    def __init__(
        self, models: Mapping[str, PresetModel], known: ModelSettings | None = None
    ) -> None:
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

    def files(self) -> dict[str, Path]:
        """The files of presets that name one, by model id."""
        return {one.id: one.path for one in self._models.values() if one.path is not None}

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
