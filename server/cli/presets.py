"""Presets: models and their settings in llama-server's INI form (--models-preset).

A section is a model, its keys are names of flags without dashes, or variables; `[*]` is for all.
The command line wins over a section, which wins over `[*]`.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from server.catalogue.companion_files import named_in
from server.catalogue.preset_model import PresetModel
from server.cli.flag import SETTINGS, Flag, boolean
from server.cli.load_settings import FLAGS, load_settings, without_prefix
from server.cli.unsupported_flags import (
    NO_EFFECT_OPTIONS,
    NO_EFFECT_SWITCHES,
    NOT_SUPPORTED,
    ONE_CHOICE,
)
from server.config import ServerConfig

_MAX_BYTES = 1 << 20
_SECTION = re.compile(r"\[\s*([^\]]*?)\s*\]\s*(?:[;#].*)?")
_ENTRY = re.compile(r"([A-Za-z_][\w.-]*)\s*=\s*(.*)", re.DOTALL)
_COMMENT = re.compile(r"(?:^|\s+)[;#].*")
_ALL, _NONE = "*", "default"
# Keys other than flags. The last two are about downloads and the end of llama-server's processes.
_LOAD_ON_STARTUP = "load-on-startup"
_WITHOUT_EFFECT = ("version", "stop-timeout", "dedup-cache-models")
_OF_ONE_MODEL = (
    *("model_file", "aliases", "tags", "lora_init_without_apply", "mmproj_auto"),
    *("hub_repo", "hub_file"),
)
_DOWNLOADED = ("model-url", "docker-repo", "mmproj-url")

Sections = dict[str, dict[str, str]]


def read_presets(config: ServerConfig) -> dict[str, PresetModel]:
    """The models of the file `config.presets` by id. Raises ValueError that names the section."""
    assert config.presets is not None, "a file is given"
    sections = _read(config.presets)
    shared = sections.pop(_ALL, {})
    if sections.get(_NONE):
        shared = sections.pop(_NONE) | shared
    presets = {}
    for name, entries in sections.items():
        try:
            preset = _preset(name, shared | entries, config)
        except ValueError as error:
            raise ValueError(f"{config.presets}: [{name}] {error}") from None
        if preset.id in presets:
            raise ValueError(f"{config.presets}: [{name}] is the same model as another section")
        presets[preset.id] = preset
    return presets


def _preset(name: str, entries: Mapping[str, str], config: ServerConfig) -> PresetModel:
    values: dict[str, Any] = {}
    load_on_startup = False
    for key, text in entries.items():
        if key == _LOAD_ON_STARTUP:
            load_on_startup = boolean(text)
        else:
            values |= _value(key, text, values)
    if values.get("mmproj_auto") is False:
        values.setdefault(f"{SETTINGS}mmproj", "none")
    path: Path | None = values.get("model_file")
    if path is not None:
        path = path.absolute()
        if not path.is_file():
            raise ValueError(f"model: {path} does not exist")
    reference = values.get("hub_repo")
    if reference is not None and path is not None:
        raise ValueError("model and hf-repo both name the model; give one")
    if reference is None and values.get("hub_file") is not None:
        raise ValueError("hf-file needs hf-repo = ORG/REPO")
    is_listed = path is None and reference is None
    model_id = _model_id(name, config.models_dir) if is_listed else _as_id(name)
    chosen = load_settings(
        without_prefix(values), applies_lora=not values.get("lora_init_without_apply")
    )
    settings, companions = named_in(f"preset {model_id}", config.default_settings.over(chosen))
    return PresetModel(
        id=model_id,
        name=name,
        path=path,
        hub_model=reference,
        hub_file=values.get("hub_file"),
        settings=settings,
        aliases=tuple(values.get("aliases", ())),
        tags=tuple(values.get("tags", ())),
        load_on_startup=load_on_startup,
        companions=companions,
    )


def _model_id(name: str, folder: Path) -> str:
    """The id of a model of the models directory: a file, or the only one in a folder."""
    for candidate in (name, _as_id(name)):
        if candidate.lower().endswith(".gguf") and (folder / candidate).is_file():
            return candidate
    found = sorted(folder.joinpath(name).glob("*.gguf")) if (folder / name).is_dir() else []
    models = [file for file in found if "mmproj" not in file.name and _is_first(file.name)]
    if len(models) == 1:
        return models[0].relative_to(folder).as_posix()
    raise ValueError(f"is not a model in {folder}; give its file as model = PATH")


def _as_id(name: str) -> str:
    return name if name.lower().endswith(".gguf") else f"{name}.gguf"


def _is_first(name: str) -> bool:
    shard = re.search(r"-(\d{5})-of-\d{5}\.gguf$", name)
    return shard is None or int(shard[1]) == 1


def _value(key: str, text: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The flag's target and value. Raises ValueError that names the key."""
    if key in _WITHOUT_EFFECT:
        return {}
    if key in _DOWNLOADED:
        raise ValueError(f"{key}: use hf-repo = ORG/REPO, or give the file as model = PATH")
    flag, is_negative = _KEYS.get(key, (None, False))
    if flag is None:
        return _foreign(key, text)
    if not flag.target.startswith(SETTINGS) and flag.target not in _OF_ONE_MODEL:
        print(f"{key} has no effect in a preset: the server's own flag applies", file=sys.stderr)
        return {}
    try:
        value = flag.read(text)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    if value is None:
        return {}
    if is_negative:
        value = not value
    if flag.adds:
        value = (*values.get(flag.target, ()), *value)
    return {flag.target: value}


def _foreign(key: str, text: str) -> dict[str, Any]:
    names = [name for name in (f"--{key}", f"-{key}") if name in _FOREIGN]
    if not names:
        raise ValueError(f"{key}: unknown key; keys are the names of flags without dashes")
    name = names[0]
    if name in ONE_CHOICE and text not in ONE_CHOICE[name][0]:
        raise ValueError(f"{key}: {ONE_CHOICE[name][2]}")
    if name in NOT_SUPPORTED:
        raise ValueError(f"{key} is not supported: {NOT_SUPPORTED[name]}")
    print(f"{key} has no effect: {_FOREIGN[name]}", file=sys.stderr)
    return {}


def _keys() -> Iterator[tuple[str, tuple[Flag, bool]]]:
    for flag in FLAGS:
        yield flag.variable, (flag, False)
        for name in flag.names:
            yield name.lstrip("-"), (flag, False)
        for name in flag.negative_names:
            yield name.lstrip("-"), (flag, True)


_KEYS = dict(_keys())
_FOREIGN = {
    **NO_EFFECT_SWITCHES,
    **NO_EFFECT_OPTIONS,
    **NOT_SUPPORTED,
    **{name: why for name, (_, why, _) in ONE_CHOICE.items()},
}


def _read(path: Path) -> Sections:
    """The entries of each section; of a key that is repeated, the last one counts."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise ValueError(f"{path}: larger than the limit of {_MAX_BYTES} bytes")
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not valid UTF-8") from None
    sections: Sections = {}
    current = sections.setdefault(_NONE, {})
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in ";#":
            continue
        if section := _SECTION.fullmatch(stripped):
            if not section[1]:
                raise ValueError(f"{path}, line {number}: the section has no name")
            current = sections.setdefault(section[1], {})
        elif entry := _ENTRY.fullmatch(stripped):
            current[entry[1]] = _COMMENT.sub("", entry[2]).strip()
        else:
            raise ValueError(f"{path}, line {number}: expected [section] or key = value")
    if not sections[_NONE]:
        del sections[_NONE]
    return sections
