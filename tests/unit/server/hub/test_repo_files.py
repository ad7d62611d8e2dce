"""Which files of a repository make a model, by names as they are on hubs."""

import re

import pytest

from server.hub import repo_files
from server.hub.repo_files import (
    NoSuchFileError,
    RepoFile,
    choose,
    default_of,
    is_model,
    models_in,
    quantisation,
    reference_of,
    references_of,
)


def _files(*paths: str) -> list[RepoFile]:
    return [RepoFile(path, 10) for path in paths]


_MANY = _files(
    "README.md",
    "imatrix.gguf",
    "mmproj-model-f16.gguf",
    "model-BF16-00001-of-00003.gguf",
    "model-BF16-00002-of-00003.gguf",
    "model-BF16-00003-of-00003.gguf",
    "model-F16.gguf",
    "model-IQ4_XS.gguf",
    "model-Q4_K_M.gguf",
    "model-Q4_K_S.gguf",
    "model-Q8_0.gguf",
    "model-UD-Q4_K_XL.gguf",
    "mtp-model-Q8_0.gguf",
)


@pytest.mark.parametrize(
    ("quant", "path"),
    [
        (None, "model-Q4_K_M.gguf"),
        ("Q4_K_M", "model-Q4_K_M.gguf"),
        ("q8_0", "model-Q8_0.gguf"),
        ("F16", "model-F16.gguf"),
        ("bf16", "model-BF16-00001-of-00003.gguf"),
        ("Q4_K_XL", "model-UD-Q4_K_XL.gguf"),
        ("UD-Q4_K_XL", "model-UD-Q4_K_XL.gguf"),
        ("IQ4_XS", "model-IQ4_XS.gguf"),
    ],
)
def test_a_quantisation_finds_its_file(quant: str | None, path: str) -> None:
    assert choose(_MANY, quant).path == path


@pytest.mark.parametrize(
    ("paths", "path"),
    [
        (("a-Q2_K.gguf", "a-Q8_0.gguf"), "a-Q8_0.gguf"),
        (("a-Q2_K.gguf", "a-Q3_K.gguf"), "a-Q2_K.gguf"),
        (("chat.gguf",), "chat.gguf"),
        (("mmproj.gguf", "x.gguf"), "x.gguf"),
        (("Q4_K_M/a-00001-of-00002.gguf", "Q4_K_M/a-00002-of-00002.gguf"), None),
        (("a.q4_k_m.gguf",), "a.q4_k_m.gguf"),
    ],
)
def test_without_a_quantisation_the_best_is_meant(paths: tuple[str, ...], path: str | None) -> None:
    assert choose(_files(*paths), None).path == (path or paths[0])
    assert default_of(_files(*paths)) == (path or paths[0])


def test_all_shards_of_a_split_model_belong_to_it_in_order() -> None:
    chosen = choose(list(reversed(_MANY)), "BF16")
    assert [file.path for file in chosen.parts] == [
        f"model-BF16-0000{number}-of-00003.gguf" for number in (1, 2, 3)
    ]
    assert chosen.size == 40, "with the projector"


def test_shards_of_other_folders_and_counts_belong_to_other_models() -> None:
    files = _files(
        *("a/m-00001-of-00002.gguf", "a/m-00002-of-00002.gguf"),
        *("b/m-00001-of-00002.gguf", "m-00001-of-00003.gguf"),
    )
    assert [file.path for file in choose(files, None).parts] == [
        "a/m-00001-of-00002.gguf",
        "a/m-00002-of-00002.gguf",
    ]


@pytest.mark.parametrize(
    ("others", "model", "projector"),
    [
        (("mmproj-F16.gguf", "mmproj-Q8_0.gguf"), "m-Q8_0.gguf", "mmproj-Q8_0.gguf"),
        (("mmproj-F32.gguf", "mmproj-BF16.gguf"), "m-Q4_K_M.gguf", "mmproj-BF16.gguf"),
        (("mmproj.gguf",), "Q4/m-Q4_0.gguf", "mmproj.gguf"),
        (("mmproj.gguf", "Q4/mmproj.gguf"), "Q4/m-Q4_0.gguf", "Q4/mmproj.gguf"),
        (("Q8/mmproj.gguf",), "Q4/m-Q4_0.gguf", None),
        (("sub/mmproj.gguf",), "m-Q4_0.gguf", None),
        (("model-mmproj-f16.gguf",), "m-Q4_0.gguf", "model-mmproj-f16.gguf"),
        (("mmproj.bin",), "m-Q4_0.gguf", None),
    ],
)
def test_the_nearest_projector_comes_along(
    others: tuple[str, ...], model: str, projector: str | None
) -> None:
    chosen = choose(_files(*others, model), None, model)
    assert (chosen.projector.path if chosen.projector else None) == projector


@pytest.mark.parametrize(
    "name",
    [
        *("mmproj-x-Q4_K_M.gguf", "x-mmproj-Q4_K_M.gguf", "imatrix-Q4_K_M.gguf", "x.imatrix.gguf"),
        *("mtp-x-Q4_K_M.gguf", "eagle3-x.gguf", "dflash-x.gguf", "dspark-x.gguf", "MMPROJ.GGUF"),
        *("x.bin", "x.gguf.part", "README.md", "gguf"),
    ],
)
def test_helpers_are_never_the_model(name: str) -> None:
    assert not is_model(name)
    with pytest.raises(NoSuchFileError):
        choose(_files(name), None)


def test_a_folder_named_like_a_helper_hides_no_model() -> None:
    assert is_model("mtp-models/x-Q4_K_M.gguf")


@pytest.mark.parametrize(
    ("quant", "file", "words"),
    [
        ("Q5_K_M", None, ("'Q5_K_M'", "model-Q4_K_M.gguf")),
        (None, "other.gguf", ("'other.gguf'", "model-Q8_0.gguf")),
    ],
)
def test_what_is_missing_is_named_with_what_there_is(
    quant: str | None, file: str | None, words: tuple[str, ...]
) -> None:
    with pytest.raises(NoSuchFileError) as caught:
        choose(_MANY, quant, file)
    assert all(word in str(caught.value) for word in words)


def test_a_long_list_of_what_there_is_is_cut() -> None:
    with pytest.raises(NoSuchFileError, match="30 more"):
        choose(_files(*(f"m{number}.gguf" for number in range(50))), "Q4_K_M")


@pytest.mark.parametrize(
    ("path", "quant"),
    [
        ("m-Q4_K_M.gguf", "Q4_K_M"),
        ("m.q8_0.gguf", "Q8_0"),
        ("m-UD-IQ1_S.gguf", "IQ1_S"),
        ("m-BF16-00001-of-00002.gguf", "BF16"),
        ("m-fp16.gguf", "FP16"),
        ("m-MXFP4_MOE.gguf", "MXFP4_MOE"),
        ("m-TQ1_0.gguf", "TQ1_0"),
        ("m-chat.gguf", None),
        ("m-v2.gguf", None),
        ("m.gguf", None),
        ("Q8_0.gguf", "Q8_0"),
        ("m-7B.gguf", None),
    ],
)
def test_quantisations_are_read_from_names(path: str, quant: str | None) -> None:
    assert quantisation(path) == quant


def test_every_model_of_a_repository_is_listed_once_with_a_name_that_finds_it() -> None:
    models = models_in(_MANY)
    assert len(models) == 7
    for model in models:
        quant = reference_of(_MANY, model.path)
        assert quant is not None
        assert choose(_MANY, quant or None).path == model.path


def test_a_model_that_no_quantisation_finds_has_no_name() -> None:
    files = _files("a-Q4_K_M.gguf", "b-Q4_K_M.gguf", "c.gguf")
    assert [reference_of(files, file.path) for file in files] == ["Q4_K_M", None, None]
    assert reference_of(_files("c.gguf"), "c.gguf") == ""


def test_references_of_all_models_are_those_of_each() -> None:
    for files in (_MANY, _files("a-Q4_K_M.gguf", "b-Q4_K_M.gguf", "c.gguf"), _files("c.gguf"), []):
        references = references_of(files)
        for model in models_in(files):
            assert references.get(model.path) == reference_of(files, model.path)


def test_the_work_for_a_repository_grows_with_its_files_and_not_with_their_square(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = 0
    inner = repo_files._shard_of

    def counted(path: str) -> re.Match[str] | None:
        nonlocal calls
        calls += 1
        return inner(path)

    monkeypatch.setattr(repo_files, "_shard_of", counted)
    files = _files(*(f"d/m{number}-Q{number}_K.gguf" for number in range(1000)), "mmproj-F16.gguf")
    models = models_in(files)
    assert len(models) == 1000
    assert all(model.projector == files[-1] for model in models)
    references_of(files)
    assert calls < 20 * len(files)
