"""Built-in templates by name, written as llama.cpp's C++ writes them."""

import pytest

from llamabind.chat.builtin_templates import apply_builtin, builtin_names, builtin_source
from llamabind.chat.template import ChatTemplate
from llamabind.errors import ChatTemplateError
from llamabind.native import backend

pytestmark = pytest.mark.native

_CONVERSATIONS = (
    ["user"],
    ["system", "user"],
    ["user", "assistant"],
    ["system", "user", "assistant", "user"],
    ["user", "assistant", "user", "assistant", "user"],
    ["system"],
    ["user", "user"],
    ["user", "assistant", "assistant", "user"],
)
# The C++ drops a system message of these; the Jinja engine adds it to the user's.
_DROPS_SYSTEM = {"yandex"}


def _names() -> tuple[str, ...]:
    backend.init()
    return builtin_names()


def test_llama_cpp_has_names() -> None:
    assert {"chatml", "llama2", "llama3", "gemma", "vicuna", "command-r"} <= set(_names())


@pytest.mark.parametrize("number", range(54))
def test_a_conversation_is_written_as_llama_cpp_writes_it(number: int) -> None:
    names = _names()
    assert len(names) == 54
    name = names[number]
    with ChatTemplate(None, builtin_source(name)) as template:
        for roles in _CONVERSATIONS:
            if "system" in roles and name in _DROPS_SYSTEM:
                continue
            messages = [(role, f"  text {index}\n ") for index, role in enumerate(roles)]
            for begin in (True, False):
                rendered = template.render(
                    [{"role": role, "content": content} for role, content in messages],
                    add_generation_prompt=begin,
                )
                assert rendered.prompt == apply_builtin(name, messages, begin=begin), roles


def test_a_name_in_place_of_a_source_is_taken() -> None:
    with ChatTemplate(None, "llama3") as template:
        rendered = template.render([{"role": "user", "content": "hi"}])
    assert rendered.prompt.startswith("<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>")
    assert "add_generation_prompt" in template.source


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ChatTemplateError, match=r"named 'llama9'.*llama3"):
        ChatTemplate(None, "llama9")
