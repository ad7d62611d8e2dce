"""CompanionFiles: nothing outside the models directories can be named."""

import pytest

from llamabind.errors import InvalidParameterError
from server.companion_files import CompanionFiles
from server.load_settings import LoadSettings, LoraChoice
from server.protocol import LoadFiles


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


def test_a_second_directory_is_looked_into(root, tmp_path):
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
def test_everything_else_is_refused_by_field(root, name):
    with pytest.raises(InvalidParameterError) as caught:
        CompanionFiles([root]).find(LoadSettings(mmproj=name))
    assert caught.value.field == "mmproj"


def test_the_number_of_a_wrong_adapter_is_told(root):
    settings = LoadSettings(lora=(LoraChoice(id="a.gguf"), LoraChoice(id="../secret.gguf")))
    with pytest.raises(InvalidParameterError) as caught:
        CompanionFiles([root]).find(settings)
    assert caught.value.field == "lora[1]"
