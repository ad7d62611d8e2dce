"""Reasoning in an answer: its token budget, and grammars that do not apply to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from llamabind.chat.template import ChatTemplate
from llamabind.errors import GrammarError
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from llamabind.sampling.params import GrammarTrigger, SamplingParams
from llamabind.sampling.sampler import Sampler, sample_many
from tests.support.chat_samples import TOOLS, USER, template_text

pytestmark = pytest.mark.native

TAGS = {"reasoning_budget_start_tag": "<think>", "reasoning_budget_end_tags": ("</think>",)}
OPEN = "<|im_start|>assistant\n<think>\n"
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'


@pytest.fixture(scope="module")
def model(vocab_dir) -> Iterator[Model]:
    path = vocab_dir / "ggml-vocab-gpt-2.gguf"
    with Model(path, ModelParams(vocab_only=True)) as model:
        yield model


class _Speaker:
    """Plays a model: in its logits the text's next token is by far the largest."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.tokenizer = sampler.model.tokenizer

    def next(self, token: int) -> int:
        logits = np.zeros(self.sampler.model.n_vocab, np.float32)
        logits[token] = 50
        [chosen] = sample_many([self.sampler], [logits.ctypes.data])
        assert isinstance(chosen, int), chosen
        return chosen

    def say(self, text: str) -> str:
        """Return the sampled text, one sampled token for each token of `text`."""
        tokens = self.tokenizer.encode(text, add_special=False, parse_special=True)
        chosen = [self.next(token) for token in tokens]
        return self.tokenizer.decode(chosen, remove_special=False, unparse_special=True)


@contextmanager
def _speaker(model: Model, **params: Any) -> Iterator[_Speaker]:
    with Sampler(model, SamplingParams(temperature=0, **params)) as sampler:
        yield _Speaker(sampler)


def _n_tokens(model: Model, text: str) -> int:
    return len(model.tokenizer.encode(text, add_special=False))


def test_reasoning_is_ended_after_its_budget(model):
    with _speaker(model, **TAGS, reasoning_budget_tokens=3) as speaker:
        assert speaker.say("<think>") == "<think>"
        assert speaker.say(" one two three four five six") == " one two three</think>"
        assert speaker.say(" one two three four") == " one two three four"


def test_a_message_stands_before_the_end(model):
    message = " Time is over."
    with _speaker(
        model, **TAGS, reasoning_budget_tokens=2, reasoning_budget_message=message
    ) as speaker:
        assert speaker.say("<think>") == "<think>"
        said = speaker.say(" one" * (2 + _n_tokens(model, message + "</think>") + 3))
        assert said.startswith(f" one one{message}</think>")
        assert set(said.rpartition("</think>")[2].split()) == {"one"}


@pytest.mark.parametrize("budget", [0, 2])
def test_reasoning_that_the_prompt_opens_counts(model, budget):
    with _speaker(model, **TAGS, reasoning_budget_tokens=budget, generation_prompt=OPEN) as speaker:
        said = speaker.say(" one" * 6)
    assert said.startswith(" one" * budget + "</think>")


def test_reasoning_without_a_budget_or_within_it_is_unchanged(model):
    long = "<think>" + " one" * 200
    with _speaker(model, **TAGS) as speaker:
        assert speaker.say(long) == long
    short = "<think> one two</think>" + " three" * 20
    with _speaker(model, **TAGS, reasoning_budget_tokens=20) as speaker:
        assert speaker.say(short) == short


def test_a_prompt_that_closes_its_reasoning_has_none(model):
    closed = OPEN + "\n</think>\n\n"
    with _speaker(model, **TAGS, reasoning_budget_tokens=0, generation_prompt=closed) as speaker:
        assert speaker.say(" one two") == " one two"


def test_each_reasoning_block_has_its_own_budget(model):
    with _speaker(model, **TAGS, reasoning_budget_tokens=1) as speaker:
        for _ in range(2):
            assert speaker.say("<think> one two two two two").startswith("<think> one</think>")


def test_a_character_is_not_cut(model):
    tokens = model.tokenizer.encode("\U0001f643", add_special=False)
    assert len(tokens) > 1
    with _speaker(model, **TAGS, reasoning_budget_tokens=1, generation_prompt=OPEN) as speaker:
        assert speaker.say("\U0001f643 one two three") == "\U0001f643</think>"


def test_a_clone_counts_on_and_a_reset_starts_over(model):
    with _speaker(model, **TAGS, reasoning_budget_tokens=2, generation_prompt=OPEN) as speaker:
        assert speaker.say(" one") == " one"
        with speaker.sampler.clone() as twin:
            assert _Speaker(twin).say(" one two two two").startswith(" one</")
        assert speaker.say(" one two two two").startswith(" one</")
        speaker.sampler.reset()
        assert speaker.say(" one one two two").startswith(" one one</")


LAZY = {
    "grammar": 'root ::= "<call>" [a-c]+',
    "grammar_lazy": True,
    "grammar_triggers": (GrammarTrigger("word", "<call>"),),
}


def test_a_lazy_grammar_ignores_triggers_in_reasoning(model):
    with _speaker(model, **LAZY, **TAGS) as speaker:
        reasoning = "<think> I could write <call>xyz here.</think>"
        assert speaker.say(reasoning) == reasoning
        assert speaker.say(" So: <call>ab") == " So: <call>ab"
        assert set(speaker.say("xyz")) <= set("abc")


def test_a_lazy_grammar_ignores_triggers_in_reasoning_that_the_prompt_opens(model):
    with _speaker(model, **LAZY, **TAGS, generation_prompt=OPEN) as speaker:
        reasoning = "I could write <call>xyz here.</think>"
        assert speaker.say(reasoning) == reasoning
        assert speaker.say("<call>") == "<call>"
        assert set(speaker.say("xyz")) <= set("abc")


def test_a_tag_that_ends_reasoning_may_be_the_trigger(model):
    tags = {**TAGS, "reasoning_budget_end_tags": ("</think>", "<call>")}
    with _speaker(model, **LAZY, **tags, generation_prompt=OPEN) as speaker:
        assert speaker.say(" hm<call>") == " hm<call>"
        assert set(speaker.say("xyz")) <= set("abc")


def test_a_tag_in_a_call_does_not_start_reasoning(model):
    grammar = {**LAZY, "grammar": 'root ::= "<call>" [a-z<>]+'}
    with _speaker(model, **grammar, **TAGS, reasoning_budget_tokens=1) as speaker:
        call = "<call>a<think>b c d e f".replace(" ", "")
        assert speaker.say(call) == call


def test_a_grammar_begins_after_reasoning_that_the_prompt_opens(model):
    grammar = 'root ::= "yes" | "no"'
    with _speaker(model, **TAGS, grammar=grammar, generation_prompt=OPEN) as speaker:
        # Nor may the answer end before.
        assert speaker.next(model.tokenizer.eos) != model.tokenizer.eos
        speaker.sampler.reset()
        assert speaker.say("Well, well.</think>") == "Well, well.</think>"
        assert speaker.say("yes") == "yes"
        assert speaker.next(model.tokenizer.encode("x")[0]) == model.tokenizer.eos


def test_a_token_that_says_more_than_the_end_must_fit_the_grammar(model):
    tags = {**TAGS, "reasoning_budget_end_tags": (" he",)}
    [token] = model.tokenizer.encode(" hello", add_special=False)
    with _speaker(model, **tags, grammar='root ::= "{}"', generation_prompt=OPEN) as speaker:
        assert speaker.next(token) != token
    with _speaker(model, **tags, grammar='root ::= "llo there"', generation_prompt=OPEN) as speaker:
        assert speaker.next(token) == token
        assert speaker.say(" there") == " there"


def test_an_end_that_the_grammar_does_not_take_is_not_forced(model):
    grammar = 'root ::= "<think>" [a-z ]+'
    with _speaker(model, **TAGS, grammar=grammar, reasoning_budget_tokens=1) as speaker:
        said = "<think>one two three"
        assert speaker.say(said) == said


def test_a_tag_in_a_value_does_not_start_reasoning(model):
    grammar = 'root ::= "{" [a-z<> ]+ "}"'
    with _speaker(model, **TAGS, grammar=grammar, reasoning_budget_tokens=1) as speaker:
        said = "{a <think> b c d e f}"
        assert speaker.say(said) == said


def test_qwen3_thinks_about_calls_and_then_calls(model):
    with ChatTemplate(None, template_text("Qwen-Qwen3-0.6B")) as template:
        rendered = template.render([USER], tools=TOOLS)
    params = {
        "grammar": rendered.grammar,
        "grammar_lazy": rendered.grammar_lazy,
        "grammar_triggers": rendered.grammar_triggers,
        "generation_prompt": rendered.generation_prompt,
        "reasoning_budget_start_tag": rendered.thinking_start_tag,
        "reasoning_budget_end_tags": rendered.thinking_end_tags,
    }
    reasoning = "<think>\nI write <tool_call>\nand not JSON.\n</think>\n\n"
    with _speaker(model, **params) as speaker:
        assert speaker.say(reasoning + CALL) == reasoning + CALL
    with _speaker(model, **params | {"generation_prompt": ""}) as speaker:
        assert speaker.say("<tool_call>\nand not") != "<tool_call>\nand not"


def test_a_required_call_may_reason_within_its_budget(model):
    """The template's own grammar contains the reasoning and accepts its end tag."""
    with ChatTemplate(None, template_text("Qwen-Qwen3-0.6B")) as template:
        rendered = template.render([USER], tools=TOOLS, tool_choice="required")
    with _speaker(
        model,
        grammar=rendered.grammar,
        grammar_prefill=rendered.grammar_prefill,
        generation_prompt=rendered.generation_prompt,
        reasoning_budget_start_tag=rendered.thinking_start_tag,
        reasoning_budget_end_tags=rendered.thinking_end_tags,
        reasoning_budget_tokens=4,
    ) as speaker:
        assert speaker.say("<think>") == "<think>"
        said = "".join(speaker.say(" one") for _ in range(4 + _n_tokens(model, "</think>")))
        assert said == " one one one one</think>"
        assert speaker.say(CALL) == CALL


def test_a_complete_grammar_ends_where_its_end_is_forbidden(model):
    tokenizer = model.tokenizer
    with _speaker(model, grammar='root ::= "yes"', ignore_eos=True) as speaker:
        assert speaker.say("yes") == "yes"
        assert speaker.next(tokenizer.encode("x")[0]) == tokenizer.eos
    banned = ((tokenizer.encode("yes", add_special=False)[0], float("-inf")),)
    grammar = 'root ::= "yes"'
    with Sampler(model, SamplingParams(grammar=grammar, logit_bias=banned)) as sampler:
        logits = np.full(model.n_vocab, -np.inf, np.float32)
        logits[banned[0][0]] = 1
        [error] = sample_many([sampler], [logits.ctypes.data])
    assert isinstance(error, GrammarError)
