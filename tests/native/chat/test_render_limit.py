"""A template that loops for ever is given up, at its deadline or when its request is cancelled."""

import threading

import pytest

from llamabind.chat.render_limit import RenderLimit, limited
from llamabind.chat.template import ChatTemplate
from llamabind.errors import RenderStoppedError

SLOW_LOOPS = "{% for i in range(1000) %}{% for j in range(1000) %}{% for k in range(1000) %}{{ i }}"
ENDS = "{% endfor %}{% endfor %}{% endfor %}"
ENDLESS = {
    "loops": f"{SLOW_LOOPS}{ENDS}",
    "macros": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}"
    ),
    "a loop in a set block": f"{{% set x %}}{SLOW_LOOPS}{ENDS}{{% endset %}}",
    "a loop in a filter": f"{{% filter upper %}}{SLOW_LOOPS}{ENDS}{{% endfilter %}}",
    "a loop in a call": (
        "{% macro g() %}{% for i in range(1000000) %}{{ caller() }}{% endfor %}{% endmacro %}"
        f"{{% call g() %}}{SLOW_LOOPS}{ENDS}{{% endcall %}}"
    ),
}
TRAP = "trap"


def template(endless: str) -> str:
    """A template that is endless if the last message is the trap."""
    return (
        f"{{% if messages[-1].content == '{TRAP}' %}}{endless}{{% endif %}}"
        "{% for message in messages %}<{{ message.role }}>{{ message.content }}</>{% endfor %}"
    )


def conversation(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("endless", ENDLESS.values(), ids=ENDLESS.keys())
def test_an_endless_rendering_ends_at_its_deadline(endless: str) -> None:
    with ChatTemplate(None, template(endless)) as chat:
        with (
            limited(RenderLimit(0.2)),
            pytest.raises(RenderStoppedError, match=r"took longer than 0\.2 s"),
        ):
            chat.render(conversation(TRAP))
        assert chat.render(conversation("hello")).prompt == "<user>hello</>"


def test_loops_with_and_without_a_condition_have_the_same_items() -> None:
    source = (
        "{% for i in range(5) %}{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last }}"
        "{% endfor %} {% for i in range(9) if i % 2 %}{{ i }}{% else %}none{% endfor %} "
        "{% for i in [] %}{{ i }}{% else %}none{% endfor %}"
        "{% for i in range(9) if i > 9 %}{{ i }}{% else %} none{% endfor %}"
    )
    with ChatTemplate(None, source) as chat:
        prompt = chat.render(conversation("hello")).prompt
    assert prompt == "1/5,2/5,3/5,4/5,5/5 1357 none none"


def test_another_thread_cancels_a_rendering() -> None:
    limit = RenderLimit(3600.0)
    reasons: list[str] = []

    def render(chat: ChatTemplate) -> None:
        try:
            with limited(limit):
                chat.render(conversation(TRAP))
        except RenderStoppedError as error:
            reasons.append(str(error))

    with ChatTemplate(None, template(ENDLESS["macros"])) as chat:
        thread = threading.Thread(target=render, args=(chat,))
        thread.start()
        limit.stop.set()
        thread.join()
    assert reasons == ["the request was cancelled before its prompt was complete"]
