"""A tool is offered even if a grammar cannot express its schema."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llamabind.chat.template import ChatTemplate
from llamabind.errors import GrammarError
from llamabind.generation.prompter import Prompter
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from llamabind.sampling.sampler import check_grammar
from llamabind.schema.pattern import why_no_grammar
from llamabind.schema.relax import relaxed
from llamabind.schema.to_grammar import json_schema_to_grammar
from tests.support.chat_samples import USER, template_text
from tests.support.made_bad_schemas import _PATTERNS, bad_schemas

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def model(vocab_dir: Path) -> Iterator[Model]:
    with Model(vocab_dir / "ggml-vocab-gpt-2.gguf", ModelParams(vocab_only=True)) as model:
        yield model


def _prompter(model: Model, template: ChatTemplate) -> Prompter:
    return Prompter(model.tokenizer, template, 1 << 20, lambda params: check_grammar(model, params))


def _tool(name: str, parameters: Any, *, strict: bool = False) -> dict[str, Any]:
    function = {"name": name, "description": "d", "parameters": parameters, "strict": strict}
    return {"type": "function", "function": function}


def _text(prompter: Prompter, tools: list[Any], **options: Any) -> str:
    return prompter.render([USER], {"tools": tools, **options}).text


@pytest.mark.parametrize("seed", range(4))
def test_what_is_left_of_any_schema_can_be_converted(seed: int) -> None:
    for schema in bad_schemas(seed, 100):
        json_schema_to_grammar(relaxed(schema, "json_schema")[0])


@pytest.mark.parametrize("pattern", _PATTERNS)
def test_a_pattern_that_is_kept_has_a_grammar(pattern: str) -> None:
    schema = {"type": "string", "pattern": pattern}
    if why_no_grammar(pattern):
        assert relaxed(schema, "s")[0] == {"type": "string"}
    else:
        assert json_schema_to_grammar(schema)


@pytest.fixture(scope="module")
def template() -> Iterator[ChatTemplate]:
    with ChatTemplate(None, template_text("Qwen-Qwen2.5-7B-Instruct")) as template:
        yield template


def test_the_model_reads_a_schema_as_it_was_sent(model: Model, template: ChatTemplate) -> None:
    parameters = {
        "type": "object",
        "properties": {"a": {"type": "string", "pattern": "^\\d+$"}, "b": True, "c": False},
    }
    prompter = _prompter(model, template)
    text = _text(prompter, [_tool("f", parameters)])
    assert '"pattern": "^\\\\d+$"' in text
    assert '"b": true' in text
    prepared = prompter.prepare([USER], None, {"tools": [_tool("f", parameters)]})
    assert len(prepared.warnings) == 1
    assert prepared.request.sampling.grammar
    decoded = model.tokenizer.decode(prepared.request.prompt_tokens, unparse_special=True)
    assert '"pattern": "^\\\\d+$"' in decoded


def test_a_named_function_is_shown_alone_and_as_it_was_sent(
    model: Model, template: ChatTemplate
) -> None:
    bad = {"type": "object", "properties": {"a": {"type": "string", "format": "uri"}}}
    choice = {"type": "function", "function": {"name": "g"}}
    text = _text(_prompter(model, template), [_tool("f", bad), _tool("g", bad)], tool_choice=choice)
    assert text.count('"format": "uri"') == 1
    assert '"name": "g"' in text


def test_many_large_tools_are_offered_with_the_schemas_that_fit(
    model: Model, template: ChatTemplate
) -> None:
    item = {
        "type": "object",
        "properties": {
            f"p{i}": {
                "type": "array",
                "items": {"type": "string", "maxLength": 2000},
                "maxItems": 2000,
            }
            for i in range(20)
        },
    }
    tools = [_tool(f"f{i}", item) for i in range(30)]
    prompter = _prompter(model, template)
    prepared = prompter.prepare([USER], None, {"tools": tools})
    assert prepared.request.sampling.grammar
    assert len(prepared.warnings) == 30
    assert "the grammar is too large" in prepared.warnings[0]
    again = prompter.prepare([USER], None, {"tools": tools})
    assert again.request.sampling == prepared.request.sampling
    assert again.warnings == prepared.warnings
    strict = [_tool(f"f{i}", item, strict=True) for i in range(30)]
    sampling = prompter.prepare([USER], None, {"tools": strict}).request.sampling
    with pytest.raises(GrammarError):
        check_grammar(model, sampling)


def test_a_schema_that_multiplies_is_left_out_whole(model: Model, template: ChatTemplate) -> None:
    node: dict[str, Any] = {}
    for _ in range(12):
        node = {"type": ["object", "array", "string"], "properties": {"a": node}, "items": node}
    prepared = _prompter(model, template).prepare(
        [USER], None, {"tools": [_tool("f", node), _tool("g", {"type": "object"})]}
    )
    assert len(prepared.warnings) == 1
    assert prepared.warnings[0].startswith("tools[0].function.parameters")


def test_a_model_without_a_template_says_so_with_every_prompt(random_llama_path: Path) -> None:
    with Model(random_llama_path) as model, ChatTemplate(model) as template:
        prepared = _prompter(model, template).prepare([USER], None, {})
        assert prepared.warnings[-1].startswith("the model has no chat template")
        assert "<|im_end|>" in prepared.request.template_stop
