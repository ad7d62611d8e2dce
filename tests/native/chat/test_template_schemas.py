"""JSON schemas in every template of the pinned source: an answer follows its schema."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from llamabind.chat.answer_frame import AnswerFrame, frame_of
from llamabind.chat.template import ChatTemplate, RenderedPrompt
from llamabind.errors import GrammarError, InvalidParameterError, TemplateRefusedError
from llamabind.generation.prompt_requests import PromptRequests
from llamabind.generation.prompter import Prompter
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from llamabind.sampling.params import SamplingParams
from llamabind.sampling.sampler import Sampler
from llamabind.sampling.token_mask import TokenMasks
from tests.support.chat_samples import TOOLS, USER, template_text, templates

pytestmark = pytest.mark.native

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
ANSWER = '{"a": 1}'
WRONG = ('{"a": "x"}', "{}", "hello", f"{ANSWER} hello")


@pytest.fixture(scope="module")
def model(vocab_dir) -> Iterator[Model]:
    path = vocab_dir / "ggml-vocab-gpt-2.gguf"
    with Model(path, ModelParams(vocab_only=True)) as model:
        yield model


def _prepare(model: Model, template: ChatTemplate, **options: Any) -> PromptRequests:
    prompter = Prompter(model.tokenizer, template, 1 << 20)
    return prompter.prepare([USER], None, {"json_schema": SCHEMA, **options})


def _may_say(model: Model, prepared: PromptRequests, text: str) -> bool:
    """Whether the text may be the whole answer, or begins a call."""
    grammar, masks = prepared.request.mask, TokenMasks.of(model.tokenizer)
    assert grammar is not None
    mask = masks.start(grammar)
    for token in model.tokenizer.encode(text, add_special=False, parse_special=True):
        if mask.is_free:
            return True
        if not masks.rows([mask])[0][token]:
            return False
        assert mask.accept(token)
    end = model.tokenizer.eos
    assert end is not None
    return mask.is_free or bool(masks.rows([mask])[0][end])


def _ways(frame: AnswerFrame) -> list[str]:
    """How the answer may be written, with reasoning and without."""
    answer = f"{frame.before}{{}}{frame.after}"
    reasoning = frame.reasoning
    if reasoning is None:
        return [answer]
    opened = "" if reasoning.is_open else reasoning.start
    thought = f"{opened}It {{1}} is </b> so.{reasoning.end}{reasoning.between}"
    return [thought + answer] + ([] if reasoning.is_open else [answer])


def _rendered(template: ChatTemplate, **options: Any) -> RenderedPrompt | None:
    try:
        return template.render([USER], **options)
    except (InvalidParameterError, TemplateRefusedError):
        return None  # test_template_tools.py tells which


@pytest.mark.parametrize("options", [{}, {"tools": TOOLS, "tool_choice": "none"}])
def test_an_answer_follows_its_schema_where_no_tool_may_be_called(
    model: Model, options: dict[str, Any]
) -> None:
    for name in templates():
        with ChatTemplate(None, template_text(name)) as template:
            rendered = template.render([USER], **options)
            prepared = _prepare(model, template, **options)
            allowed = 0
            for way in _ways(frame_of(template.source, rendered)):
                with template.parser(rendered) as parser:
                    message = parser.parse(way.replace("{}", ANSWER))
                if message.content.strip() != ANSWER:
                    continue  # a template whose reasoning its format does not read
                assert _may_say(model, prepared, way.replace("{}", ANSWER)), (name, way)
                for wrong in WRONG:
                    assert not _may_say(model, prepared, way.replace("{}", wrong)), (name, wrong)
                    assert not _may_say(model, prepared, wrong), (name, wrong)
                allowed += 1
            assert allowed, name


def test_an_answer_follows_its_schema_or_calls_a_tool(model: Model) -> None:
    n_calls = 0
    for name in templates():
        with ChatTemplate(None, template_text(name)) as template:
            rendered = _rendered(template, tools=TOOLS)
            if rendered is None:
                continue
            prepared = _prepare(model, template, tools=TOOLS)
            frame = frame_of(template.source, rendered, TOOLS)
            texts = [way.replace("{}", ANSWER) for way in _ways(frame)]
            assert any(_may_say(model, prepared, text) for text in texts), name
            for wrong in WRONG:
                assert not _may_say(model, prepared, texts[-1].replace(ANSWER, wrong)), name
            before = _ways(frame)[0].removesuffix(f"{frame.before}{{}}{frame.after}")
            for call in frame.calls:
                assert any(_may_say(model, prepared, way + call) for way in (before, "")), name
                assert not _may_say(model, prepared, f"x{call}"), (name, call)
            n_calls += bool(frame.calls)
    assert n_calls >= 55


def test_where_calls_are_json_an_answer_may_be_one(model: Model) -> None:
    call = {"name": "get_weather", "parameters": {"city": "Paris"}}
    with ChatTemplate(None, template_text("meta-llama-Llama-3.1-8B-Instruct")) as template:
        prepared = _prepare(model, template, tools=TOOLS)
        assert _may_say(model, prepared, json.dumps(call))
        assert _may_say(model, prepared, ANSWER)
        assert not _may_say(model, prepared, json.dumps(call | {"name": "other"}))
        assert not _may_say(model, prepared, json.dumps(call | {"parameters": {}}))
        assert not _may_say(model, _prepare(model, template), json.dumps(call))


@pytest.mark.parametrize("begun", ["", '{"a":', '{"a": 4', "The answer in JSON: "])
def test_an_answer_that_has_begun_goes_on_by_its_schema(model: Model, begun: str) -> None:
    with ChatTemplate(None, template_text("Qwen-Qwen3-0.6B")) as template:
        prompter = Prompter(model.tokenizer, template, 1 << 20)
        messages = [USER, {"role": "assistant", "content": begun}]
        options = {
            "json_schema": SCHEMA,
            "continue_final_message": True,
            "add_generation_prompt": False,
        }
        prepared = prompter.prepare(messages, None, options)
        rest = ANSWER if "a" not in begun[:4] else " 5}" if begun.endswith(":") else "2}"
        assert _may_say(model, prepared, rest)
        assert not _may_say(model, prepared, "x" + rest)


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "get_weather"}}]
)
def test_a_schema_does_not_apply_to_a_required_call(model: Model, choice: Any) -> None:
    with ChatTemplate(None, template_text("Qwen-Qwen3-0.6B")) as template:
        prepared = _prepare(model, template, tools=TOOLS, tool_choice=choice)
        assert prepared.request.mask is None
        assert "get_weather" in prepared.request.sampling.grammar


def _may_call(model: Model, params: SamplingParams, text: str) -> bool:
    end = model.tokenizer.eos
    assert end is not None
    tokens = model.tokenizer.encode(text, add_special=False, parse_special=True)
    with Sampler(model, params) as sampler:
        try:
            for token in (*tokens, end):
                sampler.accept(token)
        except GrammarError:
            return False
    return True


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
    assert _may_call(model, request.sampling, call) == (10 <= number < 2**53)
