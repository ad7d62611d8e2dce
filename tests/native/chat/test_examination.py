"""A chat template that never ends, whatever the conversation, fails with that reason."""

import subprocess
import sys

import pytest

from tests.support.paths import ROOT

_LOOPS = (
    "{% for i in range(1000) %}{% for j in range(1000) %}{% for k in range(1000) %}{{ i }}"
    "{% endfor %}{% endfor %}{% endfor %}"
)
# One native call of some seconds, repeated for each conversation that llama.cpp tries.
_SLOW = (
    "{% set t = 'a' * 150000 %}{% for i in range(1000) %}{{ t | replace('a', 'bb') }}{% endfor %}"
)
# In a process of its own, because the native call goes on.
_PROGRAM = """
import os, sys
from llamabind.chat import examination
from llamabind.chat.template import ChatTemplate
from llamabind.errors import ChatTemplateError
examination.EXAMINE_SECONDS = 0.5
try:
    ChatTemplate(None, sys.argv[1])
except ChatTemplateError as error:
    print(error)
with ChatTemplate(None, "{{ messages[0].content }}") as chat:
    print(chat.render([{"role": "user", "content": "hello"}]).prompt, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("endless", [_LOOPS, _SLOW], ids=["loops", "slow native calls"])
def test_a_template_that_never_ends_is_refused_and_others_work(endless: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, endless],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        check=False,
    )
    error, prompt = done.stdout.splitlines()
    assert error.startswith("the chat template did not finish within 0.5 s when it was rendered")
    assert prompt == "hello"
    assert done.returncode == 0, done.stderr
