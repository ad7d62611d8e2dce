"""choose_projectors: which projector a model of the same folder gets."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from llamabind import GgufHeader
from server.catalogue.projectors import ProjectorFile, choose_projectors


def _model(width: int) -> GgufHeader:
    metadata: Mapping[str, str | int] = {
        "general.architecture": "llama",
        "llama.embedding_length": width,
    }
    return GgufHeader(3, 0, 0, metadata, {})


def _projector(name: str, width: int | None = 64) -> ProjectorFile:
    metadata: Mapping[str, str | int] = {
        "general.architecture": "clip",
        "clip.vision.projection_dim": width or 0,
    }
    return ProjectorFile(name, Path("/models", name), GgufHeader(3, 0, 0, metadata, {}))


def _choose(models: dict[str, int], projectors: dict[str, int | None]) -> dict[str, str]:
    headers = {name: _model(width) for name, width in models.items()}
    files = [_projector(name, width) for name, width in projectors.items()]
    return {name: item.name for name, item in choose_projectors(headers, files).items()}


def test_a_single_model_takes_a_projector_of_any_name() -> None:
    assert _choose({"a-7b-Q4_K_M.gguf": 64}, {"mmproj-other.gguf": None}) == {
        "a-7b-Q4_K_M.gguf": "mmproj-other.gguf"
    }


def test_all_quantisations_of_one_model_take_the_same_projector() -> None:
    models = {"Qwen2-VL-2B-Q4_K_M.gguf": 64, "Qwen2-VL-2B-UD-Q6_K_XL.gguf": 64}
    projectors: dict[str, int | None] = {"mmproj-F32.gguf": 64, "mmproj-BF16.gguf": 64}
    projectors["mmproj-F16.gguf"] = 64
    assert _choose(models, projectors) == dict.fromkeys(models, "mmproj-F16.gguf")


@pytest.mark.parametrize(
    "projector",
    [
        "mmproj-vision-7b-f16.gguf",
        "vision-7b-mmproj.gguf",
        "mmproj_Vision_7B.gguf",
        "mmproj-vision.gguf",
    ],
)
def test_among_several_models_the_name_decides(projector: str) -> None:
    models = {"chat.gguf": 64, "vision-7b-q8_0.gguf": 64}
    assert _choose(models, {projector: 64}) == {"vision-7b-q8_0.gguf": projector}


def test_of_models_with_the_same_beginning_the_width_decides() -> None:
    models = {"gemma-3-4b-it.gguf": 2560, "gemma-3-27b-it.gguf": 5376}
    assert _choose(models, {"mmproj-gemma-3.gguf": 5376}) == {
        "gemma-3-27b-it.gguf": "mmproj-gemma-3.gguf"
    }


@pytest.mark.parametrize(("widths", "expected"), [((64, 32), ["b.gguf"]), ((32, 32), [])])
def test_a_projector_without_a_name_goes_to_the_only_model_it_fits(
    widths: tuple[int, int], expected: list[str]
) -> None:
    models = {"a.gguf": widths[0], "b.gguf": widths[1]}
    assert list(_choose(models, {"mmproj-model-f16.gguf": 32})) == expected


def test_a_projector_of_another_name_goes_to_no_model() -> None:
    assert _choose({"a.gguf": 64, "b.gguf": 32}, {"mmproj-c.gguf": 32}) == {}
