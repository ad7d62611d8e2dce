"""Tools in every template of the pinned source: defined, called as in the history, and parsed."""

import functools
import json
from itertools import takewhile
from typing import Any

import pytest

from llamabind.chat.output_parser import OutputParser
from llamabind.chat.template import ChatTemplate, RenderedPrompt
from llamabind.errors import InvalidParameterError
from tests.support.chat_parsing import check_every_way
from tests.support.chat_samples import (
    ORDER,
    ORDER_TOOL,
    TOOLS,
    USER,
    calls,
    template_text,
    templates,
)

pytestmark = pytest.mark.native

# The end of a turn: an end-of-generation token, whose text no parser gets.
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
Calls = tuple[tuple[str, dict[str, Any]], ...]
PLAIN = {"role": "assistant", "content": "hello"}

WEATHER = ("get_weather", {"city": "Paris"})
# The calls: one with a text, one with all that must be escaped, two at once.
ONE = (WEATHER,)
ESCAPED = (("place_order", ORDER),)
TWO = (WEATHER, ("get_weather", {"city": "Rome"}))

# Reviewed: llama.cpp cannot parse a call as the template writes it into the history.
# The grammar has the model write calls as they are read.
KNOWN_DIFFERENCES: dict[str, dict[str, str]] = {
    "one": {},
    "escaped": {
        "ByteDance-Seed-OSS": "the history has an object as Python prints it",
        "LFM2.5-8B-A1B": "the history has a line break within quotes",
        "openbmb-MiniCPM5-1B": "the history leaves out an object",
    },
    "two": {
        "MiniMax-M1": "lines in the history, llama.cpp reads a comma between calls",
        "MiniMax-M2": "lines in the history, llama.cpp reads a comma between calls",
        "meetkai-functionary-medium-v3.2": "marks in the history, llama.cpp reads none",
    },
}


def _names(*, calls: bool) -> list[str]:
    names = []
    for name in templates():
        with ChatTemplate(None, template_text(name)) as template:
            if template.capabilities.supports_tool_calls is calls:
                names.append(name)
    return names


def _written(
    template: ChatTemplate, asked: RenderedPrompt, options: dict[str, Any], made: Calls
) -> str:
    """What the history has for these calls, from where the model would begin to write."""
    history = {**options, "add_generation_prompt": False}
    called = template.render([USER, calls(*made)], **history).prompt
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
    # A prompt that opens reasoning, which the history lacks: back to before the tag, of which
    # the call's own mark may share the first letters.
    return called.rfind("<", 0, begin) if _is_within_tag(called[:begin]) else begin


def _is_within_tag(text: str) -> bool:
    return text.rfind("<") > text.rfind(">")


def _ways(asked: RenderedPrompt, text: str) -> list[str]:
    """The call itself, and the call after the end of the reasoning that the prompt opens."""
    return [text, text.strip(), *(tag + text.strip() for tag in asked.thinking_end_tags)]


def _read(asked: RenderedPrompt, text: str) -> list[tuple[str, Any]]:
    """The calls that come of a text; none if it does not fit the format."""
    with OutputParser(asked.parser_spec) as parser:
        message = parser.parse(text)
    if message.is_fallback:
        return []
    try:
        return [(call.name, json.loads(call.arguments)) for call in message.tool_calls]
    except ValueError:
        return []


@functools.cache
def _check_once(parser_spec: str, text: str) -> None:
    """Many templates share a format: equal parsers read equal texts alike."""
    check_every_way(parser_spec, text)


def _difference(name: str, made: Calls) -> str:
    """Why the calls do not come back, or ""; what comes back is cut at every byte."""
    difference = ""
    for enable_thinking in (False, True):
        with ChatTemplate(None, template_text(name)) as template:
            options: dict[str, Any] = {
                "tools": [*TOOLS, ORDER_TOOL],
                "enable_thinking": enable_thinking,
                "parallel_tool_calls": len(made) > 1,
            }
            asked = template.render([USER], **options)
            text = _written(template, asked, options, made)
        for way in _ways(asked, text):
            if _read(asked, way) == list(made):
                _check_once(asked.parser_spec, way)
                return ""
        difference = f"{text!r} does not follow {asked.prompt[-40:]!r}"
    return difference


@pytest.mark.parametrize(("kind", "made"), [("one", ONE), ("escaped", ESCAPED)])
def test_a_call_comes_back_from_the_history_of_every_template(kind: str, made: Calls) -> None:
    names = _names(calls=True)
    assert len(names) >= 60
    differences = {name: why for name in names if (why := _difference(name, made))}
    print(f"{len(names)} templates; not parsed back: {differences}")
    assert differences.keys() == KNOWN_DIFFERENCES[kind].keys()


def test_two_calls_in_the_history_are_parsed_by_every_template_that_supports_them() -> None:
    names = []
    for name in _names(calls=True):
        with ChatTemplate(None, template_text(name)) as template:
            if template.capabilities.supports_parallel_tool_calls:
                names.append(name)
    assert len(names) >= 50
    differences = {name: why for name in names if (why := _difference(name, TWO))}
    print(f"{len(names)} templates; not parsed back: {differences}")
    assert differences.keys() == KNOWN_DIFFERENCES["two"].keys()


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_tools_are_defined_by_every_template_or_refused(choice: str) -> None:
    for name in templates():
        with ChatTemplate(None, template_text(name)) as template:
            try:
                rendered = template.render([USER], tools=TOOLS, tool_choice=choice)
            except InvalidParameterError as error:
                refusal = str(error)
                print(f"{name}: refused, {refusal}")
                assert "the chat template given has no tool-call format" in refusal
                assert not template.capabilities.supports_tool_calls
                continue
        assert "get_weather" in rendered.prompt, name
        assert "Tells the weather in a city." in rendered.prompt, name
        if choice == "required" or not template.capabilities.supports_tool_calls:
            assert rendered.grammar, name


@pytest.mark.parametrize(
    "system",
    [
        [],
        [{"role": "system", "content": "Be brief."}],
        [{"role": "system", "content": [{"type": "text", "text": "Be brief."}]}],
    ],
)
def test_a_template_without_a_format_of_tools_has_them_in_its_system_message(
    system: list[dict[str, Any]],
) -> None:
    with ChatTemplate(None, template_text("deepseek-ai-DeepSeek-V3.1")) as template:
        rendered = template.render([*system, USER], tools=TOOLS)
        silent = template.render([*system, USER], tools=TOOLS, tool_choice="none")
    definition = "### get_weather\nDescription: Tells the weather in a city.\nParameters: {"
    assert definition in rendered.prompt
    assert rendered.prompt.count("Be brief.") == len(system)
    assert rendered.prompt.index(definition) < rendered.prompt.index(USER["content"])
    assert "get_weather" not in silent.prompt


def test_calls_of_solar_open_have_ids_of_their_own() -> None:
    with ChatTemplate(None, template_text("upstage-Solar-Open-100B")) as template:
        rendered = template.render([USER], tools=TOOLS, tool_choice="required")
    assert "call00001" not in rendered.grammar
    assert '[a-zA-Z0-9_-]{1,64} "<|tool_call:name|>"' in rendered.grammar
