"""--models-preset: llama-server's INI form of models and their settings."""

from pathlib import Path

import pytest

from server.catalogue.preset_model import PresetModel
from server.cli.parser import parse_command_line
from server.config import ServerConfig
from tests.support.gguf_files import write_gguf


def _parse(folder: Path, text: str, *flags: str) -> ServerConfig:
    file = folder / "presets.ini"
    file.write_text(text)
    arguments = ["--models-dir", str(folder), "--models-preset", str(file), *flags]
    return parse_command_line(arguments, {})


def _presets(folder: Path, text: str, *flags: str) -> dict[str, PresetModel]:
    return dict(_parse(folder, text, *flags).preset_models)


def test_the_example_of_llama_servers_readme_is_read(tmp_path: Path) -> None:
    for name in ("big.gguf", "custom.gguf", "draft.gguf"):
        write_gguf(tmp_path / name)
    text = f"""
version = 1
; settings of all models
[*]
c = 8192
n-gpu-layers = 8

# a model of --models-dir
[big]
chat-template = chatml
n-gpu-layers = 123
jinja = true
c = 4096 ; shorthand
LLAMA_ARG_CACHE_RAM = 0
model-draft = {tmp_path / "draft.gguf"}
no-kv-unified = true
load-on-startup = true
stop-timeout = 5

[custom_model]
model = {tmp_path / "custom.gguf"}
alias = mine,other
tags = a,b
"""
    presets = _presets(tmp_path, text)
    big, custom = presets["big.gguf"], presets["custom_model.gguf"]
    settings = big.settings
    assert (settings.chat_template, settings.n_gpu_layers, settings.n_ctx) == ("chatml", 123, 4096)
    assert (settings.cache_ram, settings.kv_unified) == (0, False)
    assert (big.load_on_startup, big.path) == (True, None)
    # Clients see the name of the file, not its path.
    assert settings.draft_model == "preset big.gguf/draft.gguf"
    assert big.companions == {"preset big.gguf/draft.gguf": tmp_path / "draft.gguf"}
    assert custom.path == tmp_path / "custom.gguf"
    assert (custom.settings.n_ctx, custom.settings.n_gpu_layers) == (8192, 8)
    assert (custom.aliases, custom.tags) == (("mine", "other"), ("a", "b"))
    assert not custom.load_on_startup


def test_the_command_line_wins_over_a_section_and_that_over_all(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf")
    text = "[*]\nc = 1\nb = 2\nub = 3\n[m]\nb = 20\nub = 30\n"
    [preset] = _presets(tmp_path, text, "-ub", "300").values()
    settings = preset.settings
    assert (settings.n_ctx, settings.n_batch, settings.n_ubatch) == (1, 20, 300)


def test_switches_and_their_negations_take_llama_servers_words(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf")
    text = (
        "[m]\nno-mmap = 1\ncpu-moe = on\nno-kv-offload = true\ncontext-shift = off\nreranking=1\n"
    )
    settings = _presets(tmp_path, text)["m.gguf"].settings
    assert settings.load_mode == "none"
    assert (settings.cpu_moe, settings.kv_offload) == (True, False)
    assert (settings.pooling, settings.embedding, settings.context_shift) == ("rank", True, None)


def test_files_of_the_same_name_belong_to_their_own_sections(tmp_path: Path) -> None:
    lines = []
    for name in "ab":
        (tmp_path / name).mkdir()
        write_gguf(tmp_path / name / f"{name}.gguf")
        write_gguf(tmp_path / name / "mmproj.gguf", general__architecture="clip")
        lines += [f"[{name}]", f"mmproj = {tmp_path / name / 'mmproj.gguf'}"]
    presets = _presets(tmp_path, "\n".join(lines))
    assert sorted(presets) == ["a/a.gguf", "b/b.gguf"]
    names = {presets[one].settings.mmproj for one in presets}
    assert len(names) == 2
    config = _parse(tmp_path, "\n".join(lines))
    assert {path.parent.name for path in config.companion_names.values()} == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[m]\nctx-sise = 1\n", ("[m]", "ctx-sise", "unknown key")),
        ("[m]\nc = many\n", ("[m]", "c:", "'many'")),
        ("[m]\nc = -5\n", ("[m]", "--ctx-size")),
        ("[m]\nhf-repo = model\n", ("[m]", "hf-repo", "org/repo:QUANT")),
        ("[m]\nhf-file = m.gguf\n", ("[m]", "hf-file", "hf-repo")),
        ("[m]\nmodel-url = http://x/m.gguf\n", ("[m]", "model-url", "hf-repo")),
        ("[m]\ncontrol-vector = x\n", ("[m]", "control-vector", "LoRA")),
        ("[nowhere]\nc = 1\n", ("[nowhere]", "model = PATH")),
        ("[x]\nmodel = /nowhere/x.gguf\n", ("[x]", "does not exist")),
        ("[m]\nnonsense\n", ("line 2", "key = value")),
        ("[]\n", ("line 1", "no name")),
        ("[m]\nc = 1\n[m.gguf]\nc = 2\n", ("[m.gguf]", "same model")),
    ],
)
def test_a_mistake_is_named_with_its_section(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    write_gguf(tmp_path / "m.gguf")
    with pytest.raises(SystemExit):
        _parse(tmp_path, text)
    message = capsys.readouterr().err
    assert all(word in message for word in words), message


def test_keys_of_the_server_and_keys_without_effect_are_reported(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    _parse(tmp_path, "[m]\nport = 1\njinja = true\nprio = 2\n")
    told = capsys.readouterr().err
    assert all(f"{key} has no effect" in told for key in ("port", "jinja", "prio"))


@pytest.mark.parametrize(
    ("line", "mmproj"),
    [
        ("no-mmproj = true", "none"),
        ("mmproj-auto = off", "none"),
        ("mmproj-auto = on", None),
        ("no-mmproj = true\nmmproj = p.gguf", "p.gguf"),
    ],
)
def test_a_preset_may_go_without_the_projector_beside_its_model(
    tmp_path: Path, line: str, mmproj: str | None
) -> None:
    for name in ("m.gguf", "p.gguf"):
        write_gguf(tmp_path / name)
    [preset] = _presets(tmp_path, f"[m]\n{line}\ntemp = 0.25").values()
    assert preset.settings.mmproj == mmproj
    assert preset.settings.sampling is not None
    assert preset.settings.sampling.temperature == 0.25
