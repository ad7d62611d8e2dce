"""Slots saved to a file and restored, with every kind of memory."""

import pytest

from llamabind.context.rope_config import RopeConfig
from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import load_engine
from llamabind.engine.slot_exchange import SlotExchange
from llamabind.engine.slot_file import SlotContent, read_slot_file, write_slot_file
from llamabind.errors import InvalidParameterError, SlotBusyError, StateError
from tests.support.engine_runs import make_request, run, submit, tiny_engine
from tests.support.random_architectures import write_random_architecture

pytestmark = pytest.mark.native

PROMPT = tuple(range(300, 380))
_LAYOUTS = {"unified": {"kv_unified": True}, "split": {"kv_unified": False}}


@pytest.fixture(params=_LAYOUTS)
def engine(request):
    with tiny_engine(n_ctx=1024, n_parallel=2, **_LAYOUTS[request.param]) as engine:
        yield engine


def _answer(engine, request_id, prompt=PROMPT, n=8):
    return run(engine, make_request(request_id, prompt, n))[request_id]


def _tokens(outputs):
    return [token for output in outputs for token in output.token_ids]


def test_a_restored_slot_is_reused_and_answers_as_before(engine, tmp_path):
    exchange = SlotExchange(engine)
    first = _answer(engine, "first")
    slot = first[-1].seq_id
    content = exchange.take(slot)
    # The last token was sampled but never computed, so it is not in the slot.
    assert len(content.tokens) == len(PROMPT) + len(_tokens(first)) - 1
    path = tmp_path / "a.bin"
    n_bytes = write_slot_file(path, content)
    assert path.stat().st_size == n_bytes <= exchange.max_file_bytes
    assert path.stat().st_mode & 0o777 == 0o600
    for report in engine.report_slots():
        exchange.erase(report.seq_id)
    assert _answer(engine, "none", PROMPT[:40])[-1].usage.cached_tokens == 0
    restored, n_read = read_slot_file(path, exchange.key, exchange.max_file_bytes)
    assert n_read == n_bytes
    exchange.put(1, restored)
    engine.check_idle()
    again = _answer(engine, "again")
    assert again[-1].usage.cached_tokens == len(PROMPT) - 1
    assert _tokens(again) == _tokens(first)
    engine.check_idle()


def test_erase_returns_the_number_of_tokens_and_empties_the_slot(engine):
    slot = _answer(engine, "a")[-1].seq_id
    assert SlotExchange(engine).erase(slot) >= len(PROMPT)
    assert SlotExchange(engine).erase(slot) == 0
    engine.check_idle()


def test_slots_that_are_in_use_missing_or_empty_are_refused(engine):
    submit(engine, make_request("a", PROMPT, 50))
    engine.step()
    [busy] = [report.seq_id for report in engine.report_slots() if report.running]
    for action in (SlotExchange(engine).take, SlotExchange(engine).erase):
        with pytest.raises(SlotBusyError):
            action(busy)
        with pytest.raises(InvalidParameterError, match="ids are 0 to"):
            action(99)
    engine.abort_all()
    empty = next(r.seq_id for r in engine.report_slots() if r.n_tokens == 0)
    with pytest.raises(InvalidParameterError, match="is empty"):
        SlotExchange(engine).take(empty)


def test_a_state_of_another_model_is_refused_and_leaves_nothing_behind(engine):
    slot = _answer(engine, "a")[-1].seq_id
    good = SlotExchange(engine).take(slot)
    wrong = [
        SlotContent(bytes(32), good.tokens, good.state),
        SlotContent(good.key, good.tokens[:0], good.state),
        SlotContent(good.key, good.tokens[:5], good.state),
        SlotContent(good.key, type(good.tokens)("i", [10**6] * 4), good.state),
        SlotContent(good.key, good.tokens * 100, good.state),
    ]
    for content in wrong:
        with pytest.raises(StateError):
            SlotExchange(engine).put(1, content)
        engine.check_idle()
    SlotExchange(engine).put(1, good)
    engine.check_idle()


@pytest.mark.parametrize("name", ["gemma3", "mamba", "lfm2"])
def test_memory_that_cannot_be_cut_is_restored_whole(name, tmp_path, vocab_dir):
    vocabulary = vocab_dir / "ggml-vocab-llama-spm.gguf"
    model = write_random_architecture(tmp_path / "m.gguf", vocabulary, name)
    config = EngineConfig(n_ctx=512, n_parallel=2, n_threads=1, cache_ram_mib=0, swa_full=False)
    with load_engine(model, config=config) as engine:
        exchange = SlotExchange(engine)
        slot = _answer(engine, "first")[-1].seq_id
        content = exchange.take(slot)
        conversation = (*content.tokens, *range(500, 520))
        expected = _answer(engine, "expected", conversation)
        for report in engine.report_slots():
            exchange.erase(report.seq_id)
        exchange.put(1, content)
        engine.check_idle()
        again = _answer(engine, "again", conversation)
        assert again[-1].usage.cached_tokens == len(content.tokens)
        assert _tokens(again) == _tokens(expected)


def test_the_key_of_a_state_depends_on_rope_settings_but_not_on_n_ctx():
    with tiny_engine(n_ctx=512) as engine:
        plain = SlotExchange(engine).key
    with tiny_engine(n_ctx=512, rope=RopeConfig(rope_freq_base=20_000.0)) as engine:
        assert SlotExchange(engine).key != plain
    with tiny_engine(n_ctx=1024) as engine:
        assert SlotExchange(engine).key == plain
