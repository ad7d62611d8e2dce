"""Every owner of a native object: closed once, children first, and an exception after that."""

import gc
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from llamabind.context.batch import Batch
from llamabind.context.context import Context
from llamabind.context.params import ContextParams
from llamabind.errors import HandleClosedError
from llamabind.native.handle import Handle
from llamabind.native.lora import LoraAdapter
from llamabind.native.model import Model
from llamabind.sampling.sampler import Sampler

pytestmark = pytest.mark.native

SMALL = ContextParams(n_ctx=256, n_threads=1, n_threads_batch=1)


@pytest.fixture
def model(random_llama_path):
    with Model(random_llama_path) as model:
        yield model


@pytest.fixture(params=["model", "context", "sampler", "clone", "adapter"])
def owner(request, random_llama_path, random_lora_path, model):
    """One open object of each class."""
    openers: dict[str, Callable[[], Handle[Any]]] = {
        "model": lambda: Model(random_llama_path),
        "context": lambda: Context(model, SMALL),
        "sampler": lambda: Sampler(model),
        "clone": lambda: _clone(model),
        "adapter": lambda: LoraAdapter(model, random_lora_path),
    }
    made = openers[request.param]()
    yield made
    made.close()


def _clone(model: Model) -> Sampler:
    with Sampler(model) as sampler:
        return sampler.clone()


USES: dict[type, list[Callable[[Any], Any]]] = {
    Model: [lambda m: m.metadata, lambda m: m.size_bytes, lambda m: m.tokenizer.encode("a")],
    Context: [
        lambda c: c.decode(_one_token()),
        lambda c: c.memory_clear(),
        lambda c: c.memory_seq_rm(0),
        lambda c: c.state_save(),
        lambda c: c.set_n_threads(1, 1),
        lambda c: c.set_lora([]),
        lambda c: c.synchronize(),
    ],
    Sampler: [lambda s: s.accept(5), lambda s: s.reset(), lambda s: s.clone()],
    LoraAdapter: [lambda a: a.ptr],
}


def _one_token() -> Batch:
    batch = Batch(1)
    batch.add(1, 0, 0)
    return batch


def test_closing_twice_frees_once(owner, monkeypatch):
    freed = []
    free = type(owner)._free

    def count(self, handle):
        freed.append(handle)
        free(self, handle)

    monkeypatch.setattr(type(owner), "_free", count)
    owner.close()
    owner.close()
    assert len(freed) == 1
    assert owner.is_closed


def test_a_closed_object_is_an_exception(owner):
    owner.close()
    for use in USES[type(owner)]:
        with pytest.raises(HandleClosedError, match="is closed"):
            use(owner)
    with pytest.raises(HandleClosedError), owner:
        pytest.fail("a closed object was entered")


def test_the_context_manager_closes(owner):
    with owner as entered:
        assert entered is owner
        assert not owner.is_closed
    assert owner.is_closed


def test_the_context_manager_closes_after_an_exception(owner):
    with pytest.raises(KeyError), owner:
        raise KeyError
    assert owner.is_closed


@pytest.mark.parametrize("kind", ["sampler", "context"])
def test_forgetting_to_close_is_a_warning_and_frees_nothing(model, kind, monkeypatch):
    made = Sampler(model) if kind == "sampler" else Context(model, SMALL)
    handle = made.ptr
    cls: Any = type(made)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del made
        gc.collect()
    assert [str(warning.message) for warning in caught] == [
        f"{cls.__name__} was not closed; its native memory is lost"
    ]
    assert caught[0].category is ResourceWarning
    # It still exists: give it back, so that the test itself loses nothing.
    cls._free(object.__new__(cls), handle)


def test_a_model_closes_what_was_made_from_it_first(
    random_llama_path, random_lora_path, monkeypatch
):
    order: list[str] = []
    for cls in (Model, Context, Sampler, LoraAdapter):
        _record_frees(cls, order, monkeypatch)
    model = Model(random_llama_path)
    context = Context(model, SMALL)
    sampler = Sampler(model)
    adapter = LoraAdapter(model, random_lora_path)
    context.set_lora([(adapter, 1.0)])
    model.close()
    assert order == ["LoraAdapter", "Sampler", "Context", "Model"]
    for owner in (context, sampler, adapter):
        assert owner.is_closed
        owner.close()
    assert len(order) == 4


def _record_frees(cls, order, monkeypatch):
    free = cls._free

    def record(self, handle):
        order.append(cls.__name__)
        free(self, handle)

    monkeypatch.setattr(cls, "_free", record)


def test_a_closed_child_of_an_open_model_is_fine(model):
    context = Context(model, SMALL)
    context.close()
    with Context(model, SMALL) as second:
        second.decode(_one_token())


def test_nothing_is_made_from_a_closed_model(random_llama_path, random_lora_path):
    model = Model(random_llama_path)
    model.close()
    for make in (
        lambda: Context(model, SMALL),
        lambda: Sampler(model),
        lambda: LoraAdapter(model, random_lora_path),
    ):
        with pytest.raises(HandleClosedError):
            make()


def test_a_failed_construction_leaves_nothing_to_close(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Exception, match="missing_file"):
            Model(tmp_path / "none.gguf")
        gc.collect()
