"""JSON schemas in every template of the pinned source: kept to the letter, or refused."""

from collections.abc import Iterator
from typing import Any

import pytest

from llamabind.chat.template import ChatTemplate, RenderedPrompt
from llamabind.errors import GrammarError, InvalidParameterError
from llamabind.generation.prompter import Prompter
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from llamabind.sampling.params import SamplingParams
from llamabind.sampling.sampler import Sampler
from tests.support.chat_samples import TOOLS, USER, template_text, templates

pytestmark = pytest.mark.native

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
ANSWER = '{"a": 1}'
# How formats have an answer's text: as it is, or between marks of their own.
WRAPPINGS = (
    "{}",
    "```json{}```",
    "<|START_TEXT|>{}<|END_TEXT|>",
    "<|channel|>final<|message|>{}",
    "<|channel|>final <|constrain|>json<|message|>{}",
    " to=user<|message|>{}",
)


@pytest.fixture(scope="module")
def model(vocab_dir) -> Iterator[Model]:
    path = vocab_dir / "ggml-vocab-gpt-2.gguf"
    with Model(path, ModelParams(vocab_only=True)) as model:
        yield model


def _params(rendered: RenderedPrompt) -> SamplingParams:
    return SamplingParams(
        grammar=rendered.grammar,
        grammar_prefill=rendered.grammar_prefill,
        generation_prompt=rendered.generation_prompt,
        reasoning_budget_start_tag=rendered.thinking_start_tag,
        reasoning_budget_end_tags=rendered.thinking_end_tags,
    )


def _may_say(model: Model, params: SamplingParams, text: str) -> bool:
    """Whether the text may be the whole answer."""
    tokens = model.tokenizer.encode(text, add_special=False, parse_special=True)
    end = model.tokenizer.eos
    assert end is not None
    with Sampler(model, params) as sampler:
        try:
            for token in (*tokens, end):
                sampler.accept(token)
        except GrammarError:
            return False
    return True


def _wrapping(model: Model, rendered: RenderedPrompt, params: SamplingParams) -> str:
    """The grammar of the answer after the reasoning that the prompt opens."""
    ways = [tag + way for way in WRAPPINGS for tag in ("", *rendered.thinking_end_tags)]
    return next((way for way in ways if _may_say(model, params, way.format(ANSWER))), "")


@pytest.mark.parametrize("options", [{}, {"tools": TOOLS, "tool_choice": "none"}])
def test_an_answer_follows_its_schema_where_no_tool_may_be_called(
    model: Model, options: dict[str, Any]
) -> None:
    for name in templates():
        with ChatTemplate(None, template_text(name)) as template:
            rendered = template.render([USER], json_schema=SCHEMA, **options)
            assert rendered.grammar, name
            assert not rendered.grammar_lazy, name
            params = _params(rendered)
            way = _wrapping(model, rendered, params)
            assert way, (name, rendered.grammar_prefill, rendered.grammar)
            for wrong in ('{"a": "x"}', "{}", "hello", f"{ANSWER} hello"):
                assert not _may_say(model, params, way.format(wrong)), (name, wrong)
                assert not _may_say(model, params, wrong), (name, wrong)
            with template.parser(rendered) as parser:
                message = parser.parse(way.format(ANSWER))
            assert message.content.strip() == ANSWER, (name, way, message)


def test_a_schema_is_refused_where_tools_may_be_called() -> None:
    for name in templates():
        with (
            ChatTemplate(None, template_text(name)) as template,
            pytest.raises(InvalidParameterError) as caught,
        ):
            template.render([USER], tools=TOOLS, json_schema=SCHEMA)
        assert caught.value.field == "json_schema", name
        assert "response_format cannot be kept" in str(caught.value), name


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "get_weather"}}]
)
def test_a_schema_does_not_apply_to_a_required_call(choice: Any) -> None:
    n_called = 0
    for name in templates():
        with ChatTemplate(None, template_text(name)) as template:
            options = {"tools": TOOLS, "tool_choice": choice}
            try:
                called = template.render([USER], **options)
            except InvalidParameterError:
                continue  # test_template_tools.py tells which
            assert template.render([USER], json_schema=SCHEMA, **options) == called, name
            assert "get_weather" in called.grammar, name
            assert not called.grammar_lazy, name
            n_called += 1
    assert n_called >= 60


@pytest.mark.parametrize("number", [9, 10, 12, 2**53 - 1, 2**53])
def test_a_limit_of_a_strict_tool_is_kept(model: Model, number: int) -> None:
    parameters = {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 10}},
        "required": ["n"],
        "additionalProperties": False,
    }
    function = {"name": "f", "parameters": parameters, "strict": True}
    options = {"tools": [{"type": "function", "function": function}], "tool_choice": "required"}
    with ChatTemplate(None, template_text("Qwen-Qwen2.5-7B-Instruct")) as template:
        request = Prompter(model.tokenizer, template, 8192).prepare([USER], None, options).request
    call = f'<tool_call>\n{{"name": "f", "arguments": {{"n": {number}}}}}\n</tool_call>'
    assert _may_say(model, request.sampling, call) == (10 <= number < 2**53)
