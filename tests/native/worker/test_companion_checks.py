"""A broken template or companion file is reported without loading the model."""

from pathlib import Path

import pytest

from llamabind.errors import InvalidParameterError
from server.protocol.load_settings import LoadSettings
from server.protocol.load_values import LoraChoice
from server.protocol.loading import Estimate, LoadFiles
from server.worker.loading.companion_checks import check_companions
from server.worker.loading.estimate import estimate_load
from tests.support.paths import ROOT
from tests.support.random_gguf import LlamaShape, write_random_llama, write_random_lora

pytestmark = pytest.mark.native
BUNDLED = ROOT / "llamabind" / "models" / "tiny-chat.gguf"
SHAPE = LlamaShape(n_embd=128)


@pytest.fixture(scope="module")
def model(tmp_path_factory, vocab_dir) -> Path:
    path = tmp_path_factory.mktemp("companions") / "random.gguf"
    return write_random_llama(path, vocab_dir / "ggml-vocab-llama-spm.gguf", SHAPE)


def _check(model: Path, *lora: Path, draft: Path | None = None, **settings) -> None:
    if lora:
        settings["lora"] = tuple(LoraChoice(path=path.name) for path in lora)
    files = LoadFiles(
        lora=tuple((str(path), 1.0) for path in lora),
        draft_model=str(draft) if draft else None,
    )
    check_companions(Estimate(str(model), LoadSettings(**settings), files))


def test_what_fits_is_not_complained_about(model, tmp_path):
    adapter = write_random_lora(tmp_path / "a.gguf", SHAPE)
    _check(model, adapter, draft=model, draft_model="m.gguf", chat_template="chatml")


def test_a_template_that_cannot_be_parsed_is_named(model):
    with pytest.raises(InvalidParameterError) as caught:
        _check(model, chat_template="{% if messages %}")
    assert caught.value.field == "chat_template"


def test_an_adapter_of_another_size_is_refused(model, tmp_path):
    good = write_random_lora(tmp_path / "good.gguf", SHAPE)
    other = write_random_lora(tmp_path / "other.gguf", LlamaShape(n_embd=64))
    with pytest.raises(
        InvalidParameterError, match=r"128x128 in the model.* 64x4 and 4x64"
    ) as caught:
        _check(model, good, other)
    assert caught.value.field == "lora[1]"


def test_an_adapter_with_weights_that_are_not_numbers_is_refused(model, tmp_path):
    bad = write_random_lora(tmp_path / "bad.gguf", SHAPE, factor=float("nan"))
    with pytest.raises(InvalidParameterError, match=r"'blk\.0\.attn_q.* NaN") as caught:
        _check(model, bad)
    assert caught.value.field == "lora[0]"


def test_an_adapter_for_more_layers_than_there_are_is_refused(model, tmp_path):
    deep = write_random_lora(
        tmp_path / "deep.gguf", LlamaShape(n_embd=128, n_layer=SHAPE.n_layer + 1)
    )
    with pytest.raises(InvalidParameterError, match=f"no tensor 'blk.{SHAPE.n_layer}"):
        _check(model, deep)


def test_an_adapter_for_another_architecture_is_refused(model, tmp_path):
    adapter = write_random_lora(tmp_path / "a.gguf", SHAPE, {"general.architecture": "gemma"})
    with pytest.raises(InvalidParameterError, match=r"general\.architecture is 'gemma'"):
        _check(model, adapter)


@pytest.mark.parametrize("content", [b"GGUF", b"no model at all"])
def test_a_broken_draft_model_is_blamed_and_not_the_model(model, tmp_path, content):
    draft = tmp_path / "draft.gguf"
    draft.write_bytes(content)
    files = LoadFiles(draft_model=str(draft))
    with pytest.raises(InvalidParameterError) as caught:
        estimate_load(Estimate(str(model), LoadSettings(draft_model="draft.gguf"), files))
    assert caught.value.field == "draft_model"


def test_a_draft_model_of_another_vocabulary_is_refused(model):
    with pytest.raises(InvalidParameterError, match="vocabulary") as caught:
        _check(model, draft=BUNDLED, draft_model="tiny.gguf")
    assert caught.value.field == "draft_model"
