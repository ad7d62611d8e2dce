"""ChatTemplate: every template of the pinned source, refusals, and what malformed input says."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llamabind.chat.template import ChatTemplate
from llamabind.errors import (
    ChatTemplateError,
    HandleClosedError,
    InvalidParameterError,
    TemplateRefusedError,
)
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from server.catalogue.template_capabilities import renders_thinking, renders_tools
from tests.support.chat_samples import CALL, CONVERSATION, TOOLS, USER, template_text, templates

pytestmark = pytest.mark.native

CHATML = """{%- for m in messages -%}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor -%}{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}"""

# Reviewed: llama.cpp reads reasoning of the first by the model's name, though their templates have
# none, and has no format for those of the others.
THINK_OTHERWISE = {
    "Kimi-K2-Instruct",
    "LFM2-8B-A1B",
    "moonshotai-Kimi-K2",
    "unsloth-mistral-Devstral-Small-2507",
    "Apertus-8B-Instruct",
    "unsloth-Apriel-1.5",
}

# Reviewed: these insist on turns that alternate, and say so.
REFUSE_TWO_USERS = {
    "Mistral-Small-3.2-24B-Instruct-2506",
    "google-gemma-2-2b-it",
    "mistralai-Ministral-3-14B-Reasoning-2512",
    "mistralai-Mistral-Nemo-Instruct-2407",
}


def _outcomes(messages: list[dict[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
    """The prompts by template, and the words of those that refused."""
    prompts, refusals = {}, {}
    for name in templates():
        with ChatTemplate(None, template_text(name)) as template:
            try:
                prompts[name] = template.render(messages).prompt
            except TemplateRefusedError as error:
                refusals[name] = str(error)
    return prompts, refusals


def test_every_template_renders_a_conversation_with_a_system_message():
    prompts, refusals = _outcomes(CONVERSATION)
    print(f"{len(prompts)} templates rendered, refused: {refusals}")
    assert len(prompts) == len(templates()) >= 70
    assert refusals == {}
    for name, prompt in prompts.items():
        assert "Good morning to you." in prompt, name
        assert prompt.count("What is the capital of France?") == 1, name


def test_a_template_that_insists_on_turns_gets_them():
    begin = {"role": "assistant", "content": "Good day."}
    late = {"role": "system", "content": "Be brief."}
    for conversation in ([USER, USER], [begin, USER], [USER, begin, begin, USER, late]):
        _, refusals = _outcomes(conversation)
        assert refusals == {}
    for name in REFUSE_TWO_USERS:
        with ChatTemplate(None, template_text(name)) as template:
            again = {"role": "user", "content": "And in Rome?"}
            prompt = template.render([USER, again]).prompt
            assert f"{USER['content']}\n\n{again['content']}" in prompt


def test_a_template_that_raises_is_reported_in_its_own_words():
    raising = CHATML + "{{ raise_exception('no ' + messages[0].role + ' here') }}"
    with (
        ChatTemplate(None, raising) as template,
        pytest.raises(TemplateRefusedError, match="no user here"),
    ):
        template.render([USER])


def test_every_template_with_tool_calls_renders_a_round_of_calls():
    result = {"role": "tool", "tool_call_id": "abc123456", "content": "sunny, 21 degrees"}
    n_rendered = 0
    for name in templates():
        with ChatTemplate(None, template_text(name)) as template:
            if not template.capabilities.supports_tool_calls:
                continue
            prompt = template.render([USER, CALL, result], tools=TOOLS).prompt
            assert "get_weather" in prompt, name
            assert "21 degrees" in prompt, name
            n_rendered += 1
    assert n_rendered >= 60


def test_chatml_is_rendered_to_the_letter():
    with ChatTemplate(None, CHATML) as template:
        rendered = template.render(CONVERSATION[:2])
    assert rendered.prompt == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nGood morning!<|im_end|>\n<|im_start|>assistant\n"
    )
    assert rendered.generation_prompt == "<|im_start|>assistant\n"
    assert rendered.grammar == ""
    assert rendered.stops == ()


def test_without_a_generation_prompt_the_prompt_ends_with_the_last_message():
    with ChatTemplate(None, CHATML) as template:
        rendered = template.render([USER], add_generation_prompt=False)
    assert rendered.prompt.endswith("Paris?<|im_end|>\n")


def test_a_model_without_a_template_gets_chatml(vocab_dir):
    with Model(vocab_dir / "ggml-vocab-gpt-2.gguf", ModelParams(vocab_only=True)) as model:
        with ChatTemplate(model) as template:
            assert not template.is_explicit
            assert "<|im_start|>" in template.render([USER]).prompt
        with ChatTemplate(model, "{{ messages[0].content }}") as template:
            assert template.is_explicit
            assert template.source == "{{ messages[0].content }}"
            assert template.render([USER]).prompt == USER["content"]


def test_parts_of_text_become_one_content():
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    with ChatTemplate(None, CHATML) as template:
        assert "one\ntwo" in template.render([{"role": "user", "content": parts}]).prompt


def test_client_text_is_never_executed_as_a_template():
    text = "{{ 7 * 7 }}{% for x in range(3) %}x{% endfor %}{{ raise_exception('no') }}"
    with ChatTemplate(None, CHATML) as template:
        assert text in template.render([{"role": "user", "content": text}]).prompt


def test_the_date_can_be_given():
    with ChatTemplate(None, "{{ date_string }}|{{ messages[0].content }}") as template:
        rendered = template.render([{"role": "user", "content": "x"}], now=1_000_000_000)
    assert rendered.prompt in ("08 Sep 2001|x", "09 Sep 2001|x", "10 Sep 2001|x")


def test_kwargs_reach_the_template():
    with ChatTemplate(None, "{{ mood }}: {{ messages[0].content }}") as template:
        rendered = template.render([USER], chat_template_kwargs={"mood": "good"})
    assert rendered.prompt.startswith("good: ")


def test_continuing_a_message_leaves_the_turn_open():
    messages = [USER, {"role": "assistant", "content": "The weather"}]
    with ChatTemplate(None, CHATML) as template:
        rendered = template.render(messages, continue_final_message=True)
        assert rendered.prompt.endswith("<|im_start|>assistant\nThe weather")
        with template.parser(rendered) as parser:
            deltas = parser.feed(" is fine.", final=True)
    assert [delta.content for delta in deltas] == [" is fine."]


def test_tools_give_a_lazy_grammar_when_optional_and_a_strict_one_when_required():
    with ChatTemplate(None, template_text("Qwen-Qwen2.5-7B-Instruct")) as template:
        auto = template.render([USER], tools=TOOLS)
        required = template.render([USER], tools=TOOLS, tool_choice="required")
        none = template.render([USER], tools=TOOLS, tool_choice="none")
    assert auto.grammar_lazy
    assert [trigger.value for trigger in auto.grammar_triggers] == ["<tool_call>\n"]
    assert auto.grammar_prefill == ""
    assert required.grammar
    assert not required.grammar_lazy
    assert required.grammar_prefill == "<|im_start|>assistant\n"
    assert 'root ::= "<|im_start|>assistant\\n" space tool-calls\n' in required.grammar
    assert none.grammar == ""


def test_a_named_function_offers_only_that_one():
    other = json.loads(json.dumps(TOOLS[0]).replace("get_weather", "get_time"))
    choice = {"type": "function", "function": {"name": "get_time"}}
    with ChatTemplate(None, template_text("Qwen-Qwen2.5-7B-Instruct")) as template:
        rendered = template.render([USER], tools=[*TOOLS, other], tool_choice=choice)
    assert "get_time" in rendered.grammar
    assert "get_weather" not in rendered.grammar


def test_a_grammar_passes_through():
    with ChatTemplate(None, CHATML) as template:
        by_grammar = template.render([USER], grammar='root ::= "yes" | "no"')
    assert by_grammar.grammar == 'root ::= "yes" | "no"'
    assert by_grammar.grammar_prefill == ""


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([], "messages"),
        ("hello", "messages"),
        (["hello"], "messages[0]"),
        ([USER, {"content": "x"}], "messages[1].role"),
        ([USER, {"role": 5, "content": "x"}], "messages[1].role"),
        ([USER, {"role": "user"}], "messages[1].content"),
        ([USER, {"role": "assistant"}], "messages[1].content"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "video"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": ["x"]}], "messages[0].content[0].type"),
        ([USER, {"role": "assistant", "tool_calls": "x"}], "messages[1].tool_calls"),
        ([USER, {"role": "assistant", "tool_calls": [5]}], "messages[1].tool_calls[0]"),
        (
            [USER, {"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}],
            "messages[1].tool_calls[0].function.name",
        ),
        (
            [
                USER,
                {
                    "role": "assistant",
                    "tool_calls": [{"function": {"name": "f", "arguments": '{"a":'}}],
                },
            ],
            "messages[1].tool_calls[0].function.arguments",
        ),
        (
            [
                USER,
                {
                    "role": "assistant",
                    "tool_calls": [{"function": {"name": "f", "arguments": "[" * 5000}}],
                },
            ],
            "messages[1].tool_calls[0].function.arguments",
        ),
    ],
)
def test_malformed_messages_are_named(messages, field):
    with ChatTemplate(None, CHATML) as template, pytest.raises(InvalidParameterError) as caught:
        template.render(messages)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tools": "x"}, "tools"),
        ({"tools": ["x"]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": TOOLS * 2}, "tools[1].function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": 5}}]},
            "tools[0].function.parameters",
        ),
        ({"tools": TOOLS, "grammar": 'root ::= "x"'}, "grammar"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"name": "other"}}, "tool_choice"),
        ({"json_schema": {"type": "object"}}, "json_schema"),
        ({"reasoning_format": "loud"}, "reasoning_format"),
        ({"enable_thinking": "yes"}, "enable_thinking"),
        ({"chat_template_kwargs": []}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
        ({"continue_final_message": True}, "continue_final_message"),
        ({"now": 1e300}, "now"),
        ({"temperature": 1}, "temperature"),
    ],
)
def test_malformed_options_are_named(options, field):
    with (
        ChatTemplate(None, template_text("Qwen-Qwen2.5-7B-Instruct")) as template,
        pytest.raises(InvalidParameterError) as caught,
    ):
        template.render([USER], **options)
    assert caught.value.field == field


@pytest.mark.parametrize("depth", [101, 900, 50_000])
def test_deeply_nested_json_is_refused(depth):
    nested: Any = "x"
    for _ in range(depth):
        nested = [nested]
    with ChatTemplate(None, CHATML) as template, pytest.raises(InvalidParameterError):
        template.render([USER], chat_template_kwargs={"deep": nested})


@pytest.mark.parametrize(
    "text",
    [
        "{% for m in messages %}",
        "{{ messages[0",
        "{% if %}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "x" * (512 * 1024 + 1),
    ],
)
def test_a_template_that_cannot_be_parsed_is_an_error(text):
    with pytest.raises(ChatTemplateError):
        ChatTemplate(None, text)


def test_neither_model_nor_template_is_an_error():
    with pytest.raises(ChatTemplateError, match="neither a model nor a template"):
        ChatTemplate(None)


def test_a_failing_template_is_not_a_refusal():
    with (
        ChatTemplate(None, "{{ messages | no_such_filter }}") as template,
        pytest.raises(ChatTemplateError) as caught,
    ):
        template.render([USER])
    assert not isinstance(caught.value, TemplateRefusedError)


@pytest.mark.parametrize("name", templates())
def test_the_server_detects_without_rendering_whether_a_template_has_tools(name):
    with ChatTemplate(None, template_text(name)) as template:
        assert renders_tools(template_text(name)) == template.capabilities.supports_tools


@pytest.mark.parametrize("name", templates())
def test_the_server_detects_without_rendering_whether_a_template_has_reasoning(name):
    with ChatTemplate(None, template_text(name)) as template:
        is_expected = template.capabilities.supports_thinking == (name not in THINK_OTHERWISE)
        assert renders_thinking(template_text(name)) == is_expected


def test_many_threads_render_with_one_template():
    with ChatTemplate(None, template_text("Qwen-Qwen3-0.6B")) as template:
        expected = template.render(CONVERSATION, tools=TOOLS)
        with ThreadPoolExecutor(4) as pool:
            results = list(
                pool.map(lambda _: template.render(CONVERSATION, tools=TOOLS), range(20))
            )
    assert all(result == expected for result in results)


def test_a_closed_template_says_so():
    template = ChatTemplate(None, CHATML)
    template.close()
    template.close()
    with pytest.raises(HandleClosedError):
        template.render([USER])
