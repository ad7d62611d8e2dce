"""Formats that take every text as content are known without a parse, and no others are."""

import pytest

from llamabind.chat.output_parser import MessageDelta, OutputParser, is_plain
from llamabind.chat.template import ChatTemplate, RenderedPrompt
from llamabind.errors import LlamaError
from tests.support.chat_samples import TOOLS, USER, template_text, templates

pytestmark = pytest.mark.native

TEXTS = (
    "Paris.",
    "  two spaces \n\n around\t\n",
    "<think>\nnone of your business\n</think>\n\nYes.",
    '<tool_call>\n{"name": "get_weather", "arguments": {}}\n</tool_call>',
    '{"name": "get_weather", "parameters": {"city": "Paris"}}',
    "é 漢字 🙂 \x00 \x7f [[[ {{{ (((",
    "<|im_end|> <|im_start|>assistant\n",
)


def _plain() -> list[tuple[str, RenderedPrompt]]:
    found = []
    for name in templates():
        with ChatTemplate(None, template_text(name)) as template:
            try:
                rendered = template.render([USER])
            except LlamaError:
                continue  # a template that wants more than a user's message
        if is_plain(rendered.parser_spec):
            found.append((name, rendered))
    return found


def test_llama_cpps_parser_returns_only_content_where_we_skip_it():
    plain = _plain()
    print([name for name, _ in plain])
    assert len(plain) >= 10
    for name, rendered in plain:
        with OutputParser(rendered.parser_spec) as parser:
            for text in TEXTS:
                message = parser.parse(text)
                assert (message.content, message.reasoning_content) == (text, ""), name
                assert not message.tool_calls
                assert not message.is_fallback


def test_a_plain_answer_is_streamed_as_it_comes():
    _, rendered = _plain()[0]
    with OutputParser(rendered.parser_spec) as parser:
        deltas = [delta for text in TEXTS for delta in parser.feed(text)]
        deltas += parser.feed("", final=True)
        assert deltas == [MessageDelta(content=text) for text in TEXTS]
        assert parser.message.content == "".join(TEXTS)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Qwen-QwQ-32B", {}),
        ("Qwen-Qwen2.5-7B-Instruct", {"tools": TOOLS}),
        ("openai-gpt-oss-120b", {}),
    ],
)
def test_formats_with_reasoning_or_calls_are_not_plain(name, options):
    with ChatTemplate(None, template_text(name)) as template:
        rendered = template.render([USER], **options)
    assert not is_plain(rendered.parser_spec)


def test_no_format_is_plain_and_half_a_grammar_is_not():
    assert is_plain("")
    assert not is_plain('{"generation_prompt": "<a>", "parser": ""}')
    parts = '[{"type": "tag", "child": 1, "tag": "content"}, {"type": "until", "delimiters": []}]'
    arena = f'{{"parsers": {parts}, "root": 0}}'.replace('"', '\\"')
    assert not is_plain(f'{{"generation_prompt": "", "parser": "{arena}"}}')
