"""A template whose source nests too deeply, or that makes too much when it is loaded, is refused.

Without the limits llama.cpp's recursion overflows the stack, which ends the process.
"""

import pytest

from llamabind.chat.template import ChatTemplate
from llamabind.errors import ChatTemplateError, RenderStoppedError

N = 100_000
CHAIN = "an expression of more than 2000 operators and operands"
BLOCKS = "blocks and branches nested deeper than 200 levels"
BRACKETS = "brackets nested deeper than 100 levels"
MADE = "values of more than 2048 MiB together"
DEPTH = "nests lists deeper than 256 levels"
RECURSION = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"
REFUSED = {
    "negations": ("{{ " + "not " * N + "x }}", CHAIN),
    "signs": ("{{ " + "- " * N + "x }}", CHAIN),
    "members": ("{{ x" + ".a" * N + " }}", CHAIN),
    "filters": ("{{ x" + "|a" * N + " }}", CHAIN),
    "sums": ("{{ 1" + "+1" * N + " }}", CHAIN),
    "calls": ("{{ x" + "()" * N + " }}", CHAIN),
    "choices": ("{{ " + "1 if 0 else " * (N // 4) + "1 }}", CHAIN),
    "a sum inside of brackets": ("{{ [1, [2, 1" + "+1" * N + "]] }}", CHAIN),
    "conditions": ("{% if x %}" * (N // 5) + "{% endif %}" * (N // 5), BLOCKS),
    "branches": ("{% if x %}" + "{% elif x %}" * (N // 4) + "{% endif %}", BLOCKS),
    "set blocks": ("{% set x %}" * 300 + "{% endset %}" * 300, BLOCKS),
    "brackets beside texts": ("{{ " + "[')'," * (N // 4) + "1" + "]" * (N // 4) + " }}", BRACKETS),
    "variables": ("{% set x = 1 %}" * 3000, "more than 2000 assignments, loops and macros"),
    "a macro that calls itself": (RECURSION, "calls its macros too deeply"),
    "a long list": ("{% for i in range(100000000) %}{% endfor %}", "more than 1048576 items"),
    "a long text": ("{{ 'a' * 3000000000 }}", "a text of more than 64 MiB"),
    "many long texts": (
        "".join(f"{{% set a{i} = 'a' * 60000000 %}}" for i in range(300)),
        MADE,
    ),
    "lists in lists": (
        "{% set ns = namespace(l=1) %}"
        "{% for i in range(1000) %}{% set ns.l = [ns.l] %}{% endfor %}",
        DEPTH,
    ),
    "namespaces in namespaces": (
        "{% set ns = namespace(l=1) %}"
        "{% for i in range(1000) %}{% set ns.l = namespace(l=ns.l) %}{% endfor %}",
        DEPTH,
    ),
    "lists in lists by append": (
        "{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set m = range(1) | list %}"
        "{% set nothing = m.append(ns.l) %}{% set ns.l = m %}{% endfor %}",
        DEPTH,
    ),
}


@pytest.mark.parametrize(("source", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_a_hostile_template_is_refused_when_it_is_loaded(source: str, why: str) -> None:
    with pytest.raises(ChatTemplateError, match=why):
        ChatTemplate(None, source)


def test_a_macro_that_calls_itself_for_some_conversations_ends_their_rendering_only() -> None:
    source = f"{{% if messages[0].content == 'trap' %}}{RECURSION}{{% endif %}}ok"
    with ChatTemplate(None, source) as chat:
        with pytest.raises(RenderStoppedError, match="calls its macros too deeply"):
            chat.render([{"role": "user", "content": "trap"}])
        assert chat.render([{"role": "user", "content": "hello"}]).prompt == "ok"


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        ("{% if true %}" * 60 + "deep" + "{% endif %}" * 60, "deep"),
        ("{{ [" + "'a', " * 5000 + "] | length }}", "5000"),
        ("{% set l = [" + "'a' ~ 'b', " * 1000 + "] %}{{ l[999] }}", "ab"),
        ("{% if x is defined %}a{% else %}b{% endif %}" * 500, "b" * 500),
        (
            "{% set a, b = (1, [2, {'c': 3}]) %}{% set n = namespace(x=[a]) %}"
            "{{ n.x }}{{ b[1].c }}{% for k, v in {'d': 4}.items() %}{{ k }}{{ v }}{% endfor %}",
            "13d4",
        ),
        ("{% set x %}a{% endset %}" * 300 + "{{ x }}", "a"),
        (
            "{% macro m(n) %}{{ n }}{{ m(n - 1) if n }}{% endmacro %}{{ m(100) }}",
            "".join(map(str, range(100, -1, -1))),
        ),
    ],
    ids=["blocks", "a list", "sums in a list", "conditions", "literals", "set blocks", "recursion"],
)
def test_long_and_nested_templates_within_the_limits_work(source: str, prompt: str) -> None:
    with ChatTemplate(None, source) as chat:
        assert chat.render([{"role": "user", "content": "hello"}]).prompt == prompt
