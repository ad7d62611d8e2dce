"""Templates without a format of tools: the conversation tells the tools, calls are parsed."""

from typing import Any

import pytest

from llamabind.chat.template import ChatTemplate
from llamabind.errors import InvalidParameterError
from tests.support.chat_samples import CALL, TOOLS, USER, template_text

pytestmark = pytest.mark.native

_RESULT = {"role": "tool", "tool_call_id": "abc123456", "content": "sunny"}
_CHATML = """{%- for m in messages %}
{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}"""
_NO_SYSTEM = (
    """{%- if messages[0].content is string and '<tools>' in messages[0].content %}
{{- raise_exception('no instructions') }}{%- endif %}"""
    + _CHATML
)
_WRITTEN = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'


@pytest.fixture(params=["chatml", "google-gemma-2-2b-it"])
def template(request: pytest.FixtureRequest) -> Any:
    text = _CHATML if request.param == "chatml" else template_text(request.param)
    with ChatTemplate(None, text) as opened:
        assert not opened.capabilities.supports_tool_calls
        yield opened


def test_the_definitions_are_in_the_prompt_and_calls_are_parsed(template: ChatTemplate) -> None:
    rendered = template.render([USER], tools=TOOLS)
    assert "<tools>" in rendered.prompt
    assert '"name": "get_weather"' in rendered.prompt
    assert rendered.grammar_lazy
    assert [trigger.value for trigger in rendered.grammar_triggers] == ["<tool_call>\n"]
    with template.parser(rendered) as parser:
        message = parser.parse(f"Let me see.\n{_WRITTEN}")
    assert message.content.strip() == "Let me see."
    [call] = message.tool_calls
    assert (call.name, call.arguments) == ("get_weather", '{"city": "Rome"}')


def test_an_answer_without_a_call_is_its_text_piece_by_piece(template: ChatTemplate) -> None:
    with template.parser(template.render([USER], tools=TOOLS)) as parser:
        deltas = [*parser.feed("It is <b>"), *parser.feed(" sunny.", final=True)]
    assert "".join(delta.content or "" for delta in deltas) == "It is <b> sunny."
    assert all(delta.tool_call is None for delta in deltas)


def test_a_required_call_has_a_grammar_from_the_start(template: ChatTemplate) -> None:
    rendered = template.render([USER], tools=TOOLS, tool_choice="required")
    assert rendered.grammar
    assert not rendered.grammar_lazy


@pytest.mark.parametrize("tools", [TOOLS, None])
def test_earlier_calls_and_results_are_texts(template: ChatTemplate, tools: Any) -> None:
    prompt = template.render([USER, CALL, _RESULT], tools=tools).prompt
    assert '<tool_call>\n{"name": "get_weather", "arguments": {"city":"Paris"}}' in prompt
    assert "<tool_response>\nsunny\n</tool_response>" in prompt
    assert ("<tools>" in prompt) == bool(tools)


def test_results_of_several_calls_are_one_message(template: ChatTemplate) -> None:
    prompt = template.render([USER, CALL, _RESULT, _RESULT], tools=TOOLS).prompt
    assert "sunny\n</tool_response>\n<tool_response>\nsunny" in prompt


def test_a_beginning_is_continued_with_tools(template: ChatTemplate) -> None:
    begin = {"role": "assistant", "content": "It is"}
    rendered = template.render([USER, begin], tools=TOOLS, continue_final_message=True)
    assert rendered.prompt.endswith("It is")
    with template.parser(rendered) as parser:
        deltas = [*parser.feed(" sunny", final=False), *parser.feed(".", final=True)]
    assert "".join(delta.content or "" for delta in deltas) == " sunny."


def test_without_a_choice_of_tools_none_are_in_the_prompt(template: ChatTemplate) -> None:
    prompt = template.render([USER], tools=TOOLS, tool_choice="none").prompt
    assert "get_weather" not in prompt


def test_errors_name_the_tools_field(template: ChatTemplate) -> None:
    nameless = [{"type": "function", "function": {"name": ""}}]
    with pytest.raises(InvalidParameterError) as caught:
        template.render([USER], tools=nameless)
    assert caught.value.field.startswith("tools[0]")


def test_a_template_that_refuses_tools_as_text_does_not_support_tools() -> None:
    with (
        ChatTemplate(None, _NO_SYSTEM) as template,
        pytest.raises(InvalidParameterError, match="does not support tools"),
    ):
        template.render([USER], tools=TOOLS)
