"""OutputParser: text, reasoning and tool calls of an answer, whole, cut anywhere, streamed."""

import json

import pytest

from llamabind.chat.output_parser import OutputParser, ParsedMessage
from llamabind.chat.template import ChatTemplate, RenderedPrompt
from llamabind.errors import ChatTemplateError, HandleClosedError
from tests.support.chat_parsing import check_every_way, streamed_message
from tests.support.chat_samples import TOOLS, USER, template_text

pytestmark = pytest.mark.native

ARGUMENTS = '{"city": "Paris"}'
HERMES = f'<tool_call>\n{{"name": "get_weather", "arguments": {ARGUMENTS}}}\n</tool_call>'
# The text of a call of get_weather by a model of the family.
CALLS = {
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": HERMES,
    "Qwen-Qwen2.5-7B-Instruct": HERMES,
    "Qwen3-Coder": (
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
        "</function>\n</tool_call>"
    ),
    "meta-llama-Llama-3.1-8B-Instruct": f'{{"name": "get_weather", "parameters": {ARGUMENTS}}}',
    "mistralai-Mistral-Nemo-Instruct-2407": (
        f'[TOOL_CALLS][{{"name": "get_weather", "arguments": {ARGUMENTS}, "id": "abc123456"}}]'
    ),
    "openai-gpt-oss-120b": (
        f"<|channel|>commentary to=functions.get_weather<|message|>{ARGUMENTS}"
    ),
}


def _rendered(name: str, **options) -> tuple[ChatTemplate, RenderedPrompt]:
    template = ChatTemplate(None, template_text(name))
    with template:
        return template, template.render([USER], **options)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_tool_call_is_taken_out_of_the_text(name):
    _, rendered = _rendered(name, tools=TOOLS)
    message = check_every_way(rendered.parser_spec, CALLS[name])
    [call] = message.tool_calls
    assert call.name == "get_weather"
    assert json.loads(call.arguments) == {"city": "Paris"}
    assert message.content == ""


def test_plain_text_is_content():
    _, rendered = _rendered("Qwen-Qwen2.5-7B-Instruct", tools=TOOLS)
    message = check_every_way(rendered.parser_spec, "Bonjour, ça va? [1] {x} 日本 🙂")
    assert message == ParsedMessage("Bonjour, ça va? [1] {x} 日本 🙂")


def test_a_parser_without_a_format_takes_everything_as_content():
    with OutputParser() as parser:
        assert parser.parse("<think>x</think>{") == ParsedMessage("<think>x</think>{")


def test_reasoning_is_split_from_the_answer():
    _, rendered = _rendered("Qwen-Qwen3-0.6B")
    message = check_every_way(rendered.parser_spec, "<think>\nIt is a city.\n</think>\n\nParis.")
    assert message.reasoning_content.strip() == "It is a city."
    assert message.content.strip() == "Paris."


def test_reasoning_stays_in_the_text_when_it_is_not_wanted():
    _, rendered = _rendered("Qwen-Qwen3-0.6B", reasoning_format="none")
    message = check_every_way(rendered.parser_spec, "<think>hm</think>Paris.")
    assert message.reasoning_content == ""
    assert "hm" in message.content


def test_text_before_two_calls_is_parsed_as_content():
    _, rendered = _rendered("Qwen-Qwen2.5-7B-Instruct", tools=TOOLS, parallel_tool_calls=True)
    second = HERMES.replace("Paris", "Rome")
    message = check_every_way(rendered.parser_spec, f"I look it up.\n{HERMES}\n{second}")
    assert message.content.strip() == "I look it up."
    assert [json.loads(call.arguments)["city"] for call in message.tool_calls] == ["Paris", "Rome"]
    assert len({call.id for call in message.tool_calls}) == 2


def test_an_answer_that_does_not_fit_the_format_falls_back_to_its_text():
    _, rendered = _rendered("Qwen-Qwen2.5-7B-Instruct", tools=TOOLS)
    text = HERMES.replace("get_weather", "get_nothing")
    with OutputParser(rendered.parser_spec) as parser:
        assert parser.parse(text) == ParsedMessage(text, is_fallback=True)
        assert streamed_message(parser, text).content == text


def test_a_truncated_call_keeps_what_was_returned():
    _, rendered = _rendered("Qwen-Qwen2.5-7B-Instruct", tools=TOOLS)
    text = HERMES[: HERMES.index("Paris") + 3]
    with OutputParser(rendered.parser_spec) as parser:
        streamed = streamed_message(parser, text)
        assert parser.message.content == streamed.content
        assert parser.message.tool_calls == streamed.tool_calls


@pytest.mark.parametrize("n", [1_000, 60_000, 100_000])
def test_a_flood_of_brackets_is_survived(n):
    _, rendered = _rendered("Qwen-Qwen2.5-7B-Instruct", tools=TOOLS)
    text = HERMES.replace('"Paris"', "[" * n)
    with OutputParser(rendered.parser_spec) as parser:
        assert parser.parse(text, partial=True).content is not None
        message = parser.parse(text)
        assert message.content == text or message.tool_calls


def test_text_that_is_not_utf8_is_accepted():
    with OutputParser() as parser:
        assert parser.parse("a\udcffb\0c", partial=True).content == "a?b\0c"


@pytest.mark.parametrize("spec", ["{", "[]", '{"format": 99}', '{"parser": "x"}', '{"parser": 5}'])
def test_a_broken_specification_is_an_error(spec):
    with pytest.raises(ChatTemplateError):
        OutputParser(spec)


def test_a_closed_parser_says_so():
    parser = OutputParser()
    parser.close()
    with pytest.raises(HandleClosedError):
        parser.parse("x")
