"""LLM: prompts, conversations, streams and vectors through one object."""

from __future__ import annotations

import gc
import json
import sys
import threading
import types
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamabind.embedding.config import EmbeddingConfig
from llamabind.engine.config import EngineConfig
from llamabind.errors import (
    GrammarError,
    HandleClosedError,
    InvalidParameterError,
    ModelLoadError,
    PromptTooLongError,
)
from llamabind.llm import EMBEDDING_ARCHITECTURES, LLM
from llamabind.request import FinishReason
from llamabind.sampling.params import SamplingParams
from tests.support.random_bert import BertShape, write_random_bert

pytestmark = pytest.mark.native

GREEDY = SamplingParams(temperature=0)
FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
PARIS = "The capital of France is Paris."


def _config(**fields) -> EngineConfig:
    return EngineConfig(**({"n_ctx": 1024, "n_parallel": 4, "n_threads": 1} | fields))


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    bundled = resources.files("llamabind") / "models" / "tiny-chat.gguf"
    embedding = EmbeddingConfig(n_threads=1)
    with resources.as_file(bundled) as path, LLM(path, config=_config(), embedding=embedding) as it:
        yield it


def _wait_until_idle(llm: LLM) -> None:
    """Run a request to its end; by then the engine has removed those that were cancelled before."""
    llm.generate([1, 2, 3], GREEDY, max_tokens=1)
    assert llm.stats.running == 0


def test_one_prompt_gives_one_result_and_many_give_a_list(llm):
    one = llm.generate("Once upon a time", GREEDY, max_tokens=6)
    many = llm.generate(["Once upon a time", "The sky"], GREEDY, max_tokens=6)
    tokens = llm.tokenizer.encode("Once upon a time")
    assert llm.generate(tokens, GREEDY, max_tokens=6).token_ids == one.token_ids
    assert [result.text for result in llm.generate([tokens], GREEDY, max_tokens=6)] == [one.text]
    assert many[0].text == one.text
    assert llm.generate([], GREEDY) == []
    assert (one.prompt_tokens, one.finish_reason) == (tuple(tokens), FinishReason.LENGTH)
    assert (one.usage.prompt_tokens, one.usage.completion_tokens) == (len(tokens), 6)
    assert one.timings.decode_ms > 0
    assert one.text == llm.tokenizer.decode(one.token_ids)


def test_answers_to_more_prompts_than_slots_keep_their_order(llm):
    prompts = [[5 + i, 6, 7] for i in range(30)]
    together = llm.generate(prompts, GREEDY, max_tokens=4)
    assert [result.prompt_tokens for result in together] == [tuple(tokens) for tokens in prompts]
    alone = [llm.generate(tokens, GREEDY, max_tokens=4).token_ids for tokens in prompts[:5]]
    assert [result.token_ids for result in together[:5]] == alone


def test_a_batch_larger_than_the_queue_is_answered_completely(llm):
    config = _config(n_parallel=1, max_waiting=1)
    with LLM(llm.model.path, config=config) as narrow:
        results = narrow.generate([[i + 5] for i in range(12)], GREEDY, max_tokens=2)
    assert [result.usage.completion_tokens for result in results] == [2] * 12


def test_each_prompt_may_have_its_own_params(llm):
    params = [SamplingParams(temperature=0, grammar=f'root ::= "{word}"') for word in ("yes", "no")]
    results = llm.generate(["a", "b"], params, max_tokens=5)
    assert [result.text for result in results] == ["yes", "no"]
    with pytest.raises(InvalidParameterError, match="each of 3 prompts, but got 2"):
        llm.generate(["a", "b", "c"], params)


def test_n_answers_differ_by_seed_and_repeat(llm):
    params = SamplingParams(temperature=2.0, seed=1, top_k=0, top_p=1.0, min_p=0.0)
    result = llm.generate("The", params, n=3, max_tokens=8)
    assert len({answer.token_ids for answer in result.answers}) == 3
    assert result.token_ids == result.answers[0].token_ids


def test_a_result_has_the_requested_logprobs(llm):
    result = llm.generate("The sky is", GREEDY, max_tokens=3, logprobs=2, prompt_logprobs=1)
    assert [entry.token for entry in result.logprobs] == list(result.token_ids)
    assert [entry.token for entry in result.prompt_logprobs] == list(result.prompt_tokens[1:])
    assert all(len(entry.top) == 2 for entry in result.logprobs)


def test_stop_strings_end_an_answer(llm):
    result = llm.chat(FRANCE, GREEDY, stop=" is")
    assert result.text == PARIS.partition(" is")[0]
    assert result.finish_reason is FinishReason.STOP


def test_one_conversation_gives_one_answer_and_several_give_a_list(llm):
    assert llm.chat(FRANCE, GREEDY).text == PARIS
    others = [{"role": "user", "content": "Hello!"}]
    assert llm.chat([FRANCE, others, FRANCE], GREEDY, max_tokens=20)[2].text == PARIS
    with pytest.raises(InvalidParameterError, match="at least one message"):
        llm.chat([])


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def test_tool_calls_are_parsed_and_removed_from_the_text(llm):
    question = [{"role": "user", "content": "What is the weather in Paris?"}]
    options = {"tools": [WEATHER], "tool_choice": "required", "max_tokens": 60}
    result = llm.chat(question, GREEDY, **options)
    [call] = result.tool_calls
    assert call.name == "get_weather"
    assert '"city"' in call.arguments
    assert result.text == ""
    pieces = list(llm.stream(question, GREEDY, **options))
    deltas = [delta for piece in pieces for delta in piece.tool_calls]
    assert deltas[0].name == "get_weather"
    assert "".join(delta.arguments for delta in deltas) == call.arguments
    assert "".join(piece.text for piece in pieces) == ""


def test_an_answer_follows_its_schema(llm):
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    text = llm.chat(FRANCE, GREEDY, json_schema=schema, max_tokens=200).text
    assert json.loads(text)["ok"] in (True, False)


def test_a_chat_answer_follows_the_grammar_of_its_params(llm):
    params = SamplingParams(temperature=0, grammar='root ::= "yes" | "no"')
    assert llm.chat(FRANCE, params).text in ("yes", "no")


@pytest.mark.parametrize("prompt", [FRANCE, "Once upon a time"])
def test_a_stream_adds_up_to_the_answer(llm, prompt):
    run = llm.generate if isinstance(prompt, str) else llm.chat
    whole = run(prompt, GREEDY, max_tokens=12)
    pieces = list(llm.stream(prompt, GREEDY, max_tokens=12))
    assert "".join(piece.text for piece in pieces) == whole.text
    assert tuple(token for piece in pieces for token in piece.token_ids) == whole.token_ids
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].finish_reason == whole.finish_reason
    assert pieces[-1].timings is not None
    assert len(pieces) > 3


def test_a_stream_of_several_answers_is_refused(llm):
    with pytest.raises(InvalidParameterError, match="a stream has one answer") as caught:
        llm.stream("Once", GREEDY, n=3)
    assert caught.value.field == "n"
    assert llm.stats.running == llm.stats.waiting == 0


def test_adapters_are_loaded_with_the_model(random_llama_path, random_lora_path):
    def answer(*lora: tuple[Path, float]) -> tuple[int, ...]:
        with LLM(random_llama_path, config=_config(), lora=lora) as llm:
            return llm.generate([1, 450, 4996], GREEDY, max_tokens=8).token_ids

    plain = answer()
    assert answer((random_lora_path, 4.0)) != plain
    assert answer((random_lora_path, 0.0)) == plain


def test_adapters_are_refused_by_a_model_that_only_embeds(tmp_path, vocab_dir, random_lora_path):
    path = write_random_bert(tmp_path / "bert.gguf", vocab_dir / "ggml-vocab-bert-bge.gguf")
    with pytest.raises(InvalidParameterError, match="lora"):
        LLM(path, lora=[(random_lora_path, 1.0)])


def _endless(llm: LLM):
    return llm.stream([5, 6, 7], SamplingParams(temperature=0, ignore_eos=True))


def test_breaking_out_of_a_stream_cancels_its_request(llm):
    n_tokens = 0
    for piece in _endless(llm):
        n_tokens += len(piece.token_ids)
        break
    assert n_tokens > 0
    gc.collect()
    _wait_until_idle(llm)


def test_a_closed_stream_ends(llm):
    with _endless(llm) as stream:
        next(stream)
    assert list(stream) == []
    stream.close()
    _wait_until_idle(llm)


def test_a_keyboard_interrupt_cancels_running_requests(llm, monkeypatch):
    endless = SamplingParams(temperature=0, ignore_eos=True)
    started = threading.Event()

    class Interrupting:
        """A queue that interrupts its reader after the first outputs."""

        def put(self, outputs):
            started.set()

        def get(self):
            assert started.wait(20)
            raise KeyboardInterrupt

    monkeypatch.setattr("llamabind.llm.SimpleQueue", Interrupting)
    with pytest.raises(KeyboardInterrupt):
        llm.generate([[5, 6], [7, 8]], endless)
    monkeypatch.undo()
    _wait_until_idle(llm)


def test_an_invalid_request_is_refused_before_any_runs(llm):
    with pytest.raises(PromptTooLongError) as caught:
        llm.generate([[5, 6], [7] * 2000])
    assert (caught.value.n_prompt_tokens, caught.value.n_ctx) == (2000, 1024)
    with pytest.raises(GrammarError):
        llm.generate("a", SamplingParams(grammar="root ::= ("))
    with pytest.raises(InvalidParameterError, match="temperature"):
        llm.generate("a", temperature=0)
    _wait_until_idle(llm)


def test_threads_may_share_a_model(llm):
    answers = {}

    def ask(number: int) -> None:
        answers[number] = llm.chat(FRANCE, GREEDY).text

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == dict.fromkeys(range(6), PARIS)


def test_the_progress_bar_counts_prompts_and_closes(llm, monkeypatch):
    shown: list[Any] = []

    class Bar:
        def __init__(self, total, unit):
            shown.append(("of", total, unit))

        def update(self, n):
            shown.append(n)

        def close(self):
            shown.append("closed")

    module = types.ModuleType("tqdm.auto")
    module.__dict__["tqdm"] = Bar
    monkeypatch.setitem(sys.modules, "tqdm", types.ModuleType("tqdm"))
    monkeypatch.setitem(sys.modules, "tqdm.auto", module)
    llm.generate([[5], [6], [7]], GREEDY, max_tokens=2, progress=True)
    assert (shown[0], shown[-1]) == (("of", 3, "answer"), "closed")
    assert sum(shown[1:-1]) == 3


def test_a_generating_model_also_embeds(llm):
    vectors = llm.embed(["a cat", "a dog", "a cat"])
    assert vectors.shape == (3, llm.model.n_embd)
    np.testing.assert_allclose(vectors[0], vectors[2], atol=2e-3)
    np.testing.assert_allclose(llm.embed("a dog"), vectors[1], atol=2e-3)
    with pytest.raises(InvalidParameterError, match='needs "rank"'):
        llm.rerank("a", ["b"])


def test_a_model_without_a_template_uses_chatml_or_the_given_template(random_llama_path):
    with LLM(random_llama_path, config=_config()) as bare:
        assert bare.chat_template is not None
        assert not bare.chat_template.is_explicit
        result = bare.chat(FRANCE, GREEDY, max_tokens=3)
        prompt = bare.tokenizer.decode(result.prompt_tokens, unparse_special=True)
        assert f"<|im_start|>user\n{FRANCE[0]['content']}<|im_end|>" in prompt
        assert prompt.strip().endswith("<|im_start|>assistant")
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    with LLM(random_llama_path, config=_config(), chat_template=template) as given:
        result = given.chat(FRANCE, GREEDY, max_tokens=3)
        expected = given.tokenizer.encode(FRANCE[0]["content"])
        assert list(result.prompt_tokens) == expected


def test_closing_ends_running_requests(random_llama_path):
    llm = LLM(random_llama_path, config=_config())
    stream = _endless(llm)
    next(stream)
    vectors = llm.embed(["a"])
    llm.close()
    llm.close()
    assert list(stream)[-1].finish_reason is FinishReason.ABORT
    assert vectors.shape == (1, 64)
    with pytest.raises(HandleClosedError):
        llm.generate([1, 2])


def test_an_encoder_embeds_and_refuses_to_generate(tmp_path, vocab_dir):
    vocab = vocab_dir / "ggml-vocab-bert-bge.gguf"
    path = write_random_bert(tmp_path / "bert.gguf", vocab, 4, BertShape(n_scores=1))
    with LLM(path, embedding=EmbeddingConfig(pooling="mean", n_threads=1)) as llm:
        assert llm.embed(["a", "b"]).shape == (2, 32)
        with pytest.raises(InvalidParameterError, match="bert models do not generate text"):
            llm.generate("a")
    with LLM(path, embedding=EmbeddingConfig(n_threads=1)) as llm:
        assert llm.rerank("a", ["b", "c", "d"]).shape == (3,)


def test_a_generating_engine_refuses_an_encoder(tmp_path, vocab_dir):
    from llamabind.engine.engine import load_engine

    path = write_random_bert(tmp_path / "bert.gguf", vocab_dir / "ggml-vocab-bert-bge.gguf")
    with pytest.raises(ModelLoadError) as caught:
        load_engine(path, config=_config(n_ctx=128))
    assert caught.value.reason == "unsupported_architecture"


def test_a_file_that_is_not_a_model_raises_load_error(tmp_path):
    path: Path = tmp_path / "no.gguf"
    path.write_bytes(b"no")
    with pytest.raises(ModelLoadError):
        LLM(path)
    assert "bert" in EMBEDDING_ARCHITECTURES
