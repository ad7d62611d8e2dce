"""Tools in every template of the pinned source: told, called as the history has it, read back."""

import json
from itertools import takewhile
from typing import Any

import pytest
from chat_samples import CALL, TOOLS, USER, template_text, templates
from test_chat_output import check_every_way

from llamabind.chat_template import ChatTemplate, RenderedPrompt
from llamabind.errors import InvalidParameterError
from llamabind.output_parser import OutputParser

pytestmark = pytest.mark.native

# What ends a turn: a token that ends generation, so that no parser sees its text.
ENDS_OF_TURN = (
    "<|end|>",
    "<|calls|>",
    "<|eom_id|>",
    "<|START_OF_TURN_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
    "[e~[",
    "<SPECIAL_12>",
    "<|im_end|>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "<\uff5chy_eos:opensource\uff5c>",
)
PLAIN = {"role": "assistant", "content": "hello"}


# Reviewed: templates that write calls of the history, but do not read `tools`: their makers put the
# definitions into a system message, or into a variable of another name (firefunction).
TELL_NO_TOOLS: set[str] = {
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
    "deepseek-ai-DeepSeek-V3.1",
    "fireworks-ai-llama-3-firefunction-v2",
}
# Reviewed: what the template writes for a call in the history is not what llama.cpp reads.
KNOWN_DIFFERENCES = {
    "upstage-Solar-Open-100B": "the analysis takes the call id of its probe, call00001, as a mark",
}


def _names(*, calls: bool) -> list[str]:
    names = []
    for name in templates():
        with ChatTemplate(None, template_text(name)) as template:
            if template.capabilities.supports_tool_calls is calls:
                names.append(name)
    return names


def _written(template: ChatTemplate, asked: RenderedPrompt, options: dict[str, Any]) -> str:
    """What the history has for CALL, from where the model would begin to write."""
    history = {**options, "add_generation_prompt": False}
    called = template.render([USER, CALL], **history).prompt
    plain = template.render([USER, PLAIN], **history).prompt
    text = called[_begin(asked, called) :]
    end = plain.rpartition("hello")[2].strip()
    if end and end in text:
        text = text[: text.rindex(end)]
    for mark in ENDS_OF_TURN:
        text = text.partition(mark)[0]
    return text


def _begin(asked: RenderedPrompt, called: str) -> int:
    letters = zip(asked.prompt, called, strict=False)
    begin = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], letters))
    turn = called.find(asked.generation_prompt, max(0, begin - len(asked.generation_prompt)))
    if turn >= 0:
        return turn + len(asked.generation_prompt)
    # A prompt that opens a thought, where the history has none: back to before the tag, of which
    # the call's own mark may share the first letters.
    return called.rfind("<", 0, begin) if _is_within_tag(called[:begin]) else begin


def _is_within_tag(text: str) -> bool:
    return text.rfind("<") > text.rfind(">")


def _ways(asked: RenderedPrompt, text: str) -> list[str]:
    """The call as it is, and after the end of the thought that the prompt opens."""
    return [text, text.strip(), *(tag + text.strip() for tag in asked.thinking_end_tags)]


def _calls_read(asked: RenderedPrompt, text: str) -> bool:
    with OutputParser(asked.parser_spec) as parser:
        message = parser.parse(text)
    return bool(message.tool_calls) and not message.is_fallback


def _difference(name: str) -> str:
    """Why the call does not come back, or ""; what comes back is cut at every byte."""
    for enable_thinking in (False, True):
        with ChatTemplate(None, template_text(name)) as template:
            options = {"tools": TOOLS, "enable_thinking": enable_thinking}
            asked = template.render([USER], **options)
            text = _written(template, asked, options)
        for way in _ways(asked, text):
            if _calls_read(asked, way):
                [call] = check_every_way(asked, way).tool_calls
                assert (call.name, json.loads(call.arguments)) == (
                    "get_weather",
                    {"city": "Paris"},
                ), name
                return ""
    return f"{text!r} does not follow {asked.prompt[-40:]!r}"


def test_tools_are_told_and_their_calls_come_back_from_the_history_of_every_template():
    names = _names(calls=True)
    assert len(names) >= 60
    differences: dict[str, str] = {}
    untold = set()
    for name in names:
        with ChatTemplate(None, template_text(name)) as template:
            told = "get_weather" in template.render([USER], tools=TOOLS).prompt
            assert told == template.capabilities.supports_tools, name
        if not told:
            untold.add(name)
        if why := _difference(name):
            differences[name] = why
    print(f"{len(names)} templates; not parsed back: {differences}")
    assert untold == TELL_NO_TOOLS
    assert "abc123456" in differences["upstage-Solar-Open-100B"]  # the history's own id
    assert differences.keys() == KNOWN_DIFFERENCES.keys()


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_templates_that_know_no_calls_get_the_generic_format_or_are_refused(choice):
    names = _names(calls=False)
    print(f"without tool calls: {names}")
    assert names
    for name in names:
        with ChatTemplate(None, template_text(name)) as template:
            try:
                rendered = template.render([USER], tools=TOOLS, tool_choice=choice)
            except InvalidParameterError as error:
                refusal = str(error)
                print(f"{name}: refused, {refusal}")
                assert "the chat template given has no tool-call format" in refusal
                continue
        print(f"{name}: {rendered.format}")
        assert rendered.grammar, name
