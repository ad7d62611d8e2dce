"""CompanionFiles: names cannot reach files outside the models directories."""

from pathlib import Path

import pytest

from llamabind.errors import InvalidParameterError
from server.catalogue.companion_files import CompanionFiles
from server.cli.parser import parse_command_line
from server.protocol.load_settings import LoadSettings
from server.protocol.load_values import LoraChoice
from server.protocol.loading import LoadFiles
from tests.support.gguf_files import write_gguf


@pytest.fixture
def root(tmp_path):
    (tmp_path / "models" / "sub").mkdir(parents=True)
    for name in ("a.gguf", "sub/b.gguf"):
        (tmp_path / "models" / name).write_bytes(b"x")
    (tmp_path / "secret.gguf").write_bytes(b"x")
    (tmp_path / "models" / "link.gguf").symlink_to(tmp_path / "secret.gguf")
    return tmp_path / "models"


def test_names_are_found_relative_and_absolute(root):
    settings = LoadSettings(
        lora=(LoraChoice(id="sub/b.gguf", scale=0.5), LoraChoice(path=str(root / "a.gguf"))),
        draft_model="a.gguf",
        mmproj="sub/../a.gguf",
    )
    assert CompanionFiles([root]).find(settings) == LoadFiles(
        lora=((str(root / "sub" / "b.gguf"), 0.5), (str(root / "a.gguf"), 1.0)),
        draft_model=str(root / "a.gguf"),
        mmproj=str(root / "a.gguf"),
    )


def test_files_are_found_in_a_second_directory(root, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "c.gguf").write_bytes(b"x")
    files = CompanionFiles([root, tmp_path / "more"]).find(LoadSettings(mmproj="c.gguf"))
    assert files.mmproj == str(tmp_path / "more" / "c.gguf")


@pytest.mark.parametrize(
    "name",
    [
        "../secret.gguf",
        "sub/../../secret.gguf",
        "link.gguf",
        "sub",
        "sub.gguf/",
        "none.gguf",
        "/etc/hosts.gguf",
        "a.gguf\0",
        "a\n.gguf",
        "\ud800.gguf",
        "a.txt",
        "x" * 300 + ".gguf",
    ],
)
def test_other_names_are_refused_with_the_field(root, name):
    with pytest.raises(InvalidParameterError) as caught:
        CompanionFiles([root]).find(LoadSettings(mmproj=name))
    assert caught.value.field == "mmproj"


def test_the_error_names_the_index_of_the_adapter(root):
    settings = LoadSettings(lora=(LoraChoice(id="a.gguf"), LoraChoice(id="../secret.gguf")))
    with pytest.raises(InvalidParameterError) as caught:
        CompanionFiles([root]).find(settings)
    assert caught.value.field == "lora[1]"


def test_a_file_named_by_a_flag_may_be_anywhere_and_is_found_by_its_name(tmp_path: Path) -> None:
    draft = write_gguf(tmp_path / "elsewhere" / "draft.gguf")
    adapter = write_gguf(tmp_path / "elsewhere" / "lora.gguf")
    root = tmp_path / "models"
    config = parse_command_line(
        ["--models-dir", str(root), "-md", str(draft), "--lora-scaled", f"{adapter}:0.5"], {}
    )
    settings = config.default_settings
    assert (settings.draft_model, settings.lora) == (
        "draft.gguf",
        (LoraChoice(path="lora.gguf", scale=0.5),),
    )
    found = CompanionFiles([root], config.companions).find(settings)
    assert (found.draft_model, found.lora) == (str(draft), ((str(adapter), 0.5),))


def test_two_files_of_the_same_name_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (write_gguf(tmp_path / name / "same.gguf") for name in ("a", "b"))
    with pytest.raises(SystemExit):
        parse_command_line(["-md", str(one), "--mmproj", str(two)], {})
    assert "same.gguf" in capsys.readouterr().err
