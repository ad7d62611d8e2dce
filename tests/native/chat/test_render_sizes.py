"""No single operation of a chat template takes very long or makes a very large value."""

import pytest

from llamabind.chat.render_limit import RenderLimit, limited
from llamabind.chat.template import ChatTemplate
from llamabind.errors import RenderStoppedError

HUGE = 10**15
BIG_TEXT = (
    "{% set ns = namespace(t='0123456789') %}{% for i in range(22) %}{% set ns.t = ns.t ~ ns.t %}"
)
BIG_TEXT += "{% endfor %}"
LONG_TEXT = "{% set t = 'a' * 4000000 %}"
MANY = (
    "{% set ns = namespace(l=[1]) %}"
    "{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}"
)
LOOP = "{% set l = [] %}{% set nothing = l.append(l) %}"
LIST, TEXT, SPLIT = (
    "a list of more than 1048576 items",
    "a text of more than 64 MiB",
    "too many parts",
)

STOPPED = {
    "range": (f"{{{{ range({HUGE}) }}}}", LIST),
    "range downwards": (f"{{{{ range({HUGE}, 0, -1) }}}}", LIST),
    "range whose sum overflows": ("{{ range(9223372036854775806, 9223372036854775807, 2) }}", LIST),
    "range by another name": (f"{{% set r = range %}}{{{{ r(1, {HUGE}) }}}}", LIST),
    "range in a loop": (f"{{% for i in range({HUGE}) %}}{{% endfor %}}", LIST),
    "range in a call block": (f"{{% call range({HUGE}) %}}{{% endcall %}}", LIST),
    "range in an argument": (f"{{{{ dict(a=range({HUGE})) }}}}", LIST),
    "a repeated text": (f"{{{{ 'x' * {HUGE} }}}}", TEXT),
    "a repeated empty text": (f"{{{{ '' * {HUGE} }}}}", TEXT),
    "a text repeated in a condition": (f"{{% if 'x' * {HUGE} %}}1{{% endif %}}", TEXT),
    "a text repeated in a macro": (
        f"{{% macro f(x='y' * {HUGE}) %}}{{% endmacro %}}{{{{ f() }}}}",
        TEXT,
    ),
    "a doubled text": (BIG_TEXT.replace("22", "30"), TEXT),
    "a doubled list": (
        "{% set ns = namespace(l=[1]) %}"
        "{% for i in range(40) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
        LIST,
    ),
    "replace with a long text": (f"{LONG_TEXT}{{{{ t | replace('a', t) }}}}", TEXT),
    "replace between all letters": (f"{LONG_TEXT}{{{{ t.replace('', t) }}}}", TEXT),
    "replace of many letters": (f"{LONG_TEXT}{{{{ t.replace('a', 'bb') }}}}", SPLIT),
    "split at many places": (f"{LONG_TEXT}{{{{ t.split('a') }}}}", LIST),
    "split of a long text": (
        "{% set t = 'abcdefghij' * 1000000 %}{{ t.split('j')[0] }}",
        SPLIT,
    ),
    "indent": (f"{{{{ 'x' | indent({HUGE}, true) }}}}", TEXT),
    "indent of a block": (f"{{% filter indent({HUGE}, true) %}}x{{% endfilter %}}", TEXT),
    "join": (f"{LONG_TEXT}{{{{ range(1000) | join(t) }}}}", TEXT),
    "JSON of nested lists": (f"{MANY}{{{{ ns.l | tojson }}}}", LIST),
    "indented JSON": (f"{{{{ [[[1]]] | tojson(indent={2**30}) }}}}", "indents JSON"),
    "nested lists as output": (f"{MANY}{{{{ ns.l }}}}", LIST),
    "nested lists as a text": (f"{MANY}{{{{ ns.l | string }}}}", LIST),
    "equal nested lists": (f"{MANY}{{{{ ns.l == ns.l }}}}", LIST),
    "a list in itself": (f"{LOOP}{{{{ l }}}}", "deeper than 256 levels"),
    "JSON of a list in itself": (f"{LOOP}{{{{ l | tojson }}}}", "deeper than 256 levels"),
}
ORDINARY = {
    "{{ range(3) | join(',') }} {{ range(5, 1, -2) | list }}": "0,1,2 53",
    "{{ 'ab' * 3 }}{{ 3 * 'c' }}{{ 'd' * -1 }}": "abababccc",
    "{{ 2 * 3 }} {{ 7 % 4 }} {{ 1 < 2 and 2 < 1 }} {{ 'a' in 'cat' }}": "6 3 False True",
    "{{ none ~ 'x' }}{{ missing ~ 'y' }}{{ 'a' + 1 }}": "xya1",
    "{{ (true or missing.a.b) and 'kept' }}": "kept",
    "{{ [1] + [2, 3] }}{{ [1, [2]] | tojson }}": "123[1, [2]]",
    "{{ 'a-b-c'.split('-')[1] }}{{ 'a-b' | replace('-', '') }}": "bab",
    "{{ 'x\ny' | indent(2) }}": "x\n  y",
    "{% for x in [3, 4] if x * 2 > 6 %}{{ x }}{% else %}none{% endfor %}": "4",
}


def conversation() -> list[dict[str, str]]:
    return [{"role": "user", "content": "hello"}]


def conditional(source: str) -> str:
    """`source` for the render only: llama.cpp renders each template when it is loaded, too."""
    return f"{{% if messages[0].content == 'hello' %}}{source}{{% else %}}-{{% endif %}}"


@pytest.mark.parametrize(("source", "why"), STOPPED.values(), ids=STOPPED.keys())
def test_an_operation_with_a_huge_result_ends_the_rendering(source: str, why: str) -> None:
    with (
        ChatTemplate(None, conditional(source)) as chat,
        limited(RenderLimit(3600.0)),
        pytest.raises(RenderStoppedError, match=why),
    ):
        chat.render(conversation())


@pytest.mark.parametrize("source", ORDINARY)
def test_other_operations_have_their_usual_result(source: str) -> None:
    with ChatTemplate(None, source) as chat, limited(RenderLimit(3600.0)):
        assert chat.render(conversation()).prompt == ORDINARY[source]


def test_a_slow_operation_begins_only_before_the_deadline() -> None:
    """Each pass makes and drops a text of 40 MB."""
    source = f"{BIG_TEXT}{{% for i in range(1000000) %}}{{% set x = ns.t ~ 'y' %}}{{% endfor %}}"
    with ChatTemplate(None, conditional(source)) as chat:
        limit = RenderLimit(0.2)
        with limited(limit), pytest.raises(RenderStoppedError, match=r"longer than 0\.2 s"):
            chat.render(conversation())
