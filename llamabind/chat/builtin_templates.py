"""Built-in templates: the formats that llama.cpp knows by name, as Jinja source.

llama.cpp renders them in C++ (llama_chat_apply_template of llama.h), with texts only. Here each is
derived from what that function writes for short conversations, so that tools, schemas and reasoning
work with it as with any other template.
"""

import ctypes
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from llamabind._capi import llama, types
from llamabind.errors import ChatTemplateError

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_ROLES: Final = ("system", "user", "assistant", "tool")
# Placeholders that no format contains; the tabs around them show which formats trim contents.
_MARK: Final = "\t\x01{}\x02\t"
_MARKED: Final = re.compile("(\t?)\x01(\\d+)\x02(\t?)")
# The roles of the messages that formats expect before a message of each role.
_BEFORE: Final = {"system": (), "user": (), "assistant": ("user",), "tool": ("user", "assistant")}


def is_builtin_name(text: str) -> bool:
    """True if `text` is a name rather than Jinja source. llama.cpp's shim knows "chatml" itself."""
    return _NAME.fullmatch(text) is not None and text != "chatml"


def builtin_names() -> tuple[str, ...]:
    """The names that llama.cpp has."""
    count = llama.llama_chat_builtin_templates(None, 0)
    names = (ctypes.c_char_p * count)()
    llama.llama_chat_builtin_templates(names, count)
    return tuple(name.decode() for name in names if name)


def builtin_source(name: str) -> str:
    """The Jinja source of a built-in template. Raises ChatTemplateError for an unknown name."""
    names = builtin_names()
    if name not in names:
        raise ChatTemplateError(
            f"no built-in template is named {name!r}; the names are {', '.join(names)}"
        )
    ends = {"": "", **{role: _end(name, role) for role in _ROLES}}
    pieces = {pair: _piece(name, *pair, ends) for pair in itertools.product(("", *_ROLES), _ROLES)}
    begins = {role: _begin(name, role, ends[role]) for role in _ROLES}
    return _source(pieces, begins, ends)


def apply_builtin(name: str, messages: Sequence[tuple[str, str]], *, begin: bool) -> str:
    """What llama.cpp writes for (role, content) pairs; `begin` adds the beginning of an answer."""
    chat = (types.llama_chat_message * len(messages))(
        *(types.llama_chat_message(role.encode(), text.encode()) for role, text in messages)
    )
    size = 4096
    while True:
        buffer = ctypes.create_string_buffer(size)
        n = llama.llama_chat_apply_template(name.encode(), chat, len(messages), begin, buffer, size)
        if n < 0:
            raise ChatTemplateError(f"llama.cpp cannot write {name!r} for these roles")
        if n < size:
            return buffer.raw[:n].decode()
        size = n + 1


def _write(name: str, roles: Sequence[str], *, begin: bool = False) -> str:
    """The format of a conversation whose contents are placeholders."""
    messages = [(role, _MARK.format(index)) for index, role in enumerate(roles)]
    return apply_builtin(name, messages, begin=begin) if messages else ""


def _history(role: str) -> tuple[str, ...]:
    """A conversation that ends with a message of `role`."""
    return (*_BEFORE[role], role) if role else ()


def _end(name: str, role: str) -> str:
    """The text behind a message of `role` that is written only if it is the last message."""
    history = _history(role)
    alone, followed = _write(name, history), _write(name, (*history, "user"))
    pairs = zip(alone, followed, strict=False)
    n_common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return alone[n_common:]


def _piece(name: str, previous: str, role: str, ends: Mapping[str, str]) -> str:
    """The text that a message adds behind one of `previous`, as Jinja source."""
    history = _history(previous)
    before = _write(name, history).removesuffix(ends[previous])
    after = _write(name, (*history, role)).removesuffix(ends[role])
    if not after.startswith(before):
        raise ChatTemplateError(
            f"the built-in template {name!r} cannot be written as Jinja; give its Jinja source"
        )
    return _jinja(after[len(before) :], len(history))


def _begin(name: str, role: str, end: str) -> str:
    """The beginning of an answer to a message of `role`."""
    history = _history(role)
    before = _write(name, history).removesuffix(end)
    return _write(name, history, begin=True).removeprefix(before)


def _jinja(text: str, current: int) -> str:
    """Jinja source that writes `text`, with contents in place of the placeholders.

    `current` is the number of the message itself; lower ones are those before it.
    """
    parts: list[str] = []
    end = 0
    for mark in _MARKED.finditer(text):
        parts.append(_literal(text[end : mark.start()]))
        offset = current - int(mark[2])
        content = "message" if offset == 0 else f"messages[loop.index0 - {offset}]"
        trim = "" if mark[1] or mark[3] else " | trim"
        parts.append("{{ " + f"{content}.content{trim}" + " }}")
        end = mark.end()
    parts.append(_literal(text[end:]))
    return "".join(parts)


def _literal(text: str) -> str:
    return "{{ " + json.dumps(text, ensure_ascii=False) + " }}" if text else ""


def _source(
    pieces: Mapping[tuple[str, str], str], begins: Mapping[str, str], ends: Mapping[str, str]
) -> str:
    """One branch for each pair of roles; messages of other roles are written like a user's."""
    lines = [
        "{%- for message in messages -%}",
        "{%- set before = messages[loop.index0 - 1].role if loop.index0 > 0 else '' -%}",
        "{%- if false -%}",
    ]
    for (previous, role), piece in pieces.items():
        test = f"before == '{previous}' and message.role == '{role}'"
        lines.append(f"{{%- elif {test} -%}}{piece}")
    lines += [f"{{%- else -%}}{pieces['user', 'user']}", "{%- endif -%}", "{%- endfor -%}"]
    lines.append("{%- if add_generation_prompt -%}{%- if false -%}")
    for role in _ROLES:
        lines.append(f"{{%- elif messages[-1].role == '{role}' -%}}{_literal(begins[role])}")
    lines.append("{%- endif -%}{%- elif false -%}")
    for role in _ROLES:
        lines.append(f"{{%- elif messages[-1].role == '{role}' -%}}{_literal(ends[role])}")
    lines.append("{%- endif -%}")
    return "".join(lines)
