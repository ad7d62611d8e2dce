"""Guarded grammars allow what llama.cpp's allow, and lazy ones wait for their trigger."""

import ctypes
import random

import pytest

from llamabind._capi import llama, shim
from llamabind._capi.shim import lb_status
from llamabind.errors import GrammarError
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from llamabind.schema.to_grammar import json_schema_to_grammar
from tests.support.shim_grammar import (
    JSON_GBNF,
    RefusedError,
    ShimGrammar,
    all_candidates,
    survivors,
)

pytestmark = pytest.mark.native

VOCABULARIES = ["llama-spm", "gpt-2", "qwen2"]
GRAMMARS = {
    "json": JSON_GBNF,
    "anything": "root ::= .*",
    "accents and emoji": 'root ::= [é-ü日本語]+ "😀"? [^a-z]*',
    "words with common beginnings": 'root ::= ("hello" | "help" | "hell" " "?)+',
    "a list": 'root ::= "[" [0-9]+ (", " [0-9]+)* "]"',
}


@pytest.fixture(scope="module", params=VOCABULARIES)
def model(request, vocab_dir):
    path = vocab_dir / f"ggml-vocab-{request.param}.gguf"
    with Model(path, ModelParams(vocab_only=True)) as model:
        yield model


@pytest.fixture(scope="module")
def gpt2(vocab_dir):
    path = vocab_dir / "ggml-vocab-gpt-2.gguf"
    with Model(path, ModelParams(vocab_only=True)) as model:
        yield model


class _Reference:
    """llama.cpp's own grammar sampler."""

    def __init__(self, model: Model, grammar: str) -> None:
        sampler = llama.llama_sampler_init_grammar(model.tokenizer.ptr, grammar.encode(), b"root")
        assert sampler
        self.n_vocab, self.sampler = model.n_vocab, sampler

    def allowed(self) -> set[int]:
        candidates = all_candidates(self.n_vocab)
        llama.llama_sampler_apply(self.sampler, ctypes.byref(candidates))
        return survivors(candidates)

    def accept(self, token: int) -> None:
        llama.llama_sampler_accept(self.sampler, token)

    def close(self) -> None:
        llama.llama_sampler_free(self.sampler)


@pytest.mark.parametrize("name", sorted(GRAMMARS))
def test_the_allowed_tokens_are_those_of_llama_cpp_along_random_texts(model, name):
    choose = random.Random(7)
    reference = _Reference(model, GRAMMARS[name])
    with ShimGrammar(model, GRAMMARS[name]) as grammar:
        for _ in range(6):
            allowed = grammar.allowed()
            assert allowed == reference.allowed()
            for token in choose.sample(range(model.n_vocab), 20):
                assert grammar.allows(token) == (token in allowed)
            going_on = sorted(token for token in allowed if not model.tokenizer.is_eog(token))
            if not going_on:
                break
            token = choose.choice(going_on)
            assert grammar.accept(token) == lb_status.LB_OK
            reference.accept(token)
    reference.close()


def test_an_end_token_inside_an_open_grammar_is_refused_not_fatal(gpt2):
    eos = gpt2.tokenizer.eos
    with ShimGrammar(gpt2, 'root ::= "abc"') as grammar:
        assert not grammar.allows(eos)
        assert grammar.accept(eos) == lb_status.LB_TOKEN_REFUSED
        assert not grammar.is_complete()
        assert grammar.accept_text("abc") > 0
        assert grammar.is_complete()
        assert grammar.accept(eos) == lb_status.LB_OK


def test_a_refused_token_changes_nothing(gpt2):
    with ShimGrammar(gpt2, 'root ::= "abc"') as grammar:
        before = grammar.allowed()
        [wrong] = gpt2.tokenizer.encode("x", add_special=False, parse_special=False)
        assert grammar.accept(wrong) == lb_status.LB_TOKEN_REFUSED
        assert grammar.allowed() == before


@pytest.mark.parametrize("token", [-1, 10**6, 2**31 - 1])
def test_an_unknown_token_is_invalid(gpt2, token):
    with ShimGrammar(gpt2, 'root ::= "abc"') as grammar:
        assert grammar.accept(token) == lb_status.LB_INVALID


def test_a_token_rule_wants_that_token(gpt2):
    with ShimGrammar(gpt2, 'root ::= <[50]> [a-z]+ | !<[60]> "x"') as grammar:
        allowed = grammar.allowed()
        assert 50 in allowed
        assert 60 not in allowed
        assert grammar.accept(50) == lb_status.LB_OK
        assert grammar.accept_text("abc") > 0
        assert grammar.is_complete()


def test_clones_go_their_own_ways_and_reset_goes_back(gpt2):
    with ShimGrammar(gpt2, 'root ::= "a" ("b" | "c")') as grammar:
        start = grammar.allowed()
        grammar.accept_text("a")
        twin = object.__new__(ShimGrammar)
        clone = shim.lb_grammar_clone(grammar.handle)
        assert clone is not None
        twin.model, twin.handle = gpt2, clone
        with twin:
            assert twin.allowed() == grammar.allowed()
            assert twin.accept_text("b") == 1
            assert twin.is_complete()
            assert not grammar.is_complete()
        assert shim.lb_grammar_reset(grammar.handle) == lb_status.LB_OK
        assert grammar.allowed() == start


def test_a_prefill_advances_the_grammar(gpt2):
    with ShimGrammar(gpt2, 'root ::= "say: " [a-z]+', prefill="say: ") as grammar:
        assert grammar.accept_text("hello") > 0
    with pytest.raises(RefusedError, match="prefill"):
        ShimGrammar(gpt2, 'root ::= "say: " [a-z]+', prefill="do: ")


@pytest.mark.parametrize(
    ("trigger", "text"),
    [
        ({"type": "word", "value": "<call>"}, "thinking... <call>abc"),
        ({"type": "pattern", "value": "<call>"}, "thinking... <call>abc"),
        ({"type": "pattern", "value": "go(<c[a-z]+>)"}, "I go<call>abc"),
        ({"type": "pattern_full", "value": "[\\s\\S]*?(<call>)"}, "so <call>abc"),
    ],
)
def test_a_lazy_grammar_begins_with_its_trigger(gpt2, trigger, text):
    with ShimGrammar(gpt2, 'root ::= "<call>" [a-z]+', lazy=True, triggers=[trigger]) as grammar:
        assert grammar.is_waiting()
        assert len(grammar.allowed()) == gpt2.n_vocab
        grammar.accept_text(text)
        assert not grammar.is_waiting()
        assert grammar.accept_text("123") == 0
        assert grammar.accept_text("xyz") > 0


def test_a_trigger_in_the_middle_of_a_token_feeds_the_rest_of_it(gpt2):
    [token] = gpt2.tokenizer.encode(" hello", add_special=False, parse_special=False)
    trigger = {"type": "word", "value": "hello"}
    with ShimGrammar(gpt2, 'root ::= "hello" "!"', lazy=True, triggers=[trigger]) as grammar:
        assert grammar.accept(token) == lb_status.LB_OK
        assert not grammar.is_waiting()
        assert grammar.accept_text("!") == 1
        assert grammar.is_complete()


def test_a_token_triggers(gpt2):
    trigger = {"type": "token", "token": 50}
    with ShimGrammar(gpt2, "root ::= <[50]> [a-z]+", lazy=True, triggers=[trigger]) as grammar:
        grammar.accept_text("some words")
        assert grammar.is_waiting()
        assert grammar.accept(50) == lb_status.LB_OK
        assert not grammar.is_waiting()


def test_text_that_only_looks_like_a_trigger_is_let_through(gpt2):
    trigger = {"type": "word", "value": "<call"}
    with ShimGrammar(gpt2, 'root ::= "<call>" [a-z]+', lazy=True, triggers=[trigger]) as grammar:
        for token in gpt2.tokenizer.encode("<calling", add_special=False, parse_special=False):
            assert grammar.accept(token) == lb_status.LB_OK


def test_a_trigger_is_found_after_a_long_text(gpt2):
    trigger = {"type": "word", "value": "<call>"}
    with ShimGrammar(gpt2, 'root ::= "<call>" [a-z]+', lazy=True, triggers=[trigger]) as grammar:
        grammar.accept_text("word " * 10_000)
        assert grammar.is_waiting()
        grammar.accept_text("<call>a")
        assert not grammar.is_waiting()


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        ("", 'has no rule "root"'),
        ('other ::= "x"', 'has no rule "root"'),
        ("root ::= other", 'rule "other" is used but not defined'),
        ('root ::= "x', "unexpected end"),
        ("root ::= [a", "unexpected end"),
        ("root ::= *", "preceding item"),
        ('root ::= "\\q"', "unknown escape"),
        ("root := x", "expecting ::="),
        ('root ::= "x"{', "expecting an int"),
        ("root ::= <no such token>", "invalid token"),
    ],
)
def test_a_broken_grammar_is_refused_with_a_reason(gpt2, grammar, reason):
    with pytest.raises(RefusedError) as caught:
        ShimGrammar(gpt2, grammar)
    assert caught.value.status == lb_status.LB_INVALID
    assert reason in str(caught.value)


def test_a_long_reason_is_cut_between_words(gpt2):
    with pytest.raises(RefusedError) as caught:
        ShimGrammar(gpt2, "root := " + "consideration " * 40)
    reason = str(caught.value)
    assert reason.endswith(" consideration...")


def test_a_lazy_grammar_needs_a_trigger(gpt2):
    with pytest.raises(RefusedError, match="at least one"):
        ShimGrammar(gpt2, 'root ::= "x"', lazy=True)


def test_another_rule_can_be_the_root(gpt2):
    with ShimGrammar(gpt2, 'root ::= "a"\nother ::= "b"', root="other") as grammar:
        assert grammar.accept_text("a") == 0
        assert grammar.accept_text("b") == 1


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "boolean"}, "true", "1"),
        ({"type": "integer", "minimum": 1, "maximum": 20}, "17", "21"),
        ({"enum": ["red", "green"]}, '"green"', '"blue"'),
        ({"type": "string", "pattern": "^[a-c]{2,3}$"}, '"abc"', '"abcd"'),
        ({"type": "array", "items": {"type": "null"}, "minItems": 1}, "[null, null]", "[]"),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            '{"a": "é"}',
            "{}",
        ),
        ({"type": "integer", "minimum": 100}, "100", "15"),
        ({"type": "integer", "minimum": 105}, "1050", "103"),
        ({"type": "integer", "exclusiveMaximum": -9}, "-10", "-05"),
        ({"properties": {"a": True}}, '{"a": [1]}', '{"b": 1}'),
        ({"properties": {"": {"type": "integer"}}, "required": [""]}, '{"": 1}', "1"),
        (
            {"allOf": [{"properties": {"": {"type": "null"}}, "required": [""]}]},
            '{"": null}',
            "null",
        ),
        ({"type": "string", "minLength": 2}, '"\\u00e9\U0001f600"', '"\\ud83d\\ude00"'),
        (
            {"properties": {"ab": {}}, "additionalProperties": {"type": "null"}},
            '{"ac\\n": null}',
            '{"a\\u0062": null}',
        ),
        ({"properties": {"a": {}}, "additionalProperties": True}, '{"b": 1}', '{"\n": 1}'),
        (
            {"$ref": "#/$defs/n", "$defs": {"n": {"anyOf": [{"const": 1}, {"const": 2}]}}},
            "2",
            "3",
        ),
    ],
)
def test_a_schema_allows_what_it_describes(gpt2, schema, good, bad):
    gbnf = json_schema_to_grammar(schema)
    for text, is_good in ((good, True), (bad, False)):
        with ShimGrammar(gpt2, gbnf) as grammar:
            n_tokens = len(gpt2.tokenizer.encode(text, add_special=False, parse_special=False))
            assert (grammar.accept_text(text) == n_tokens and grammar.is_complete()) == is_good


def test_a_schema_that_python_cannot_write_as_json_is_a_grammar_error():
    with pytest.raises(GrammarError, match="JSON"):
        json_schema_to_grammar({"const": float("nan")})
