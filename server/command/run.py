"""`llamabind run`: one question, one answer."""

import argparse
import json
import os
import shlex
import stat
import sys
import time
from typing import Final

from server.command.client import paths
from server.command.client.errors import RefusedError, UsageError
from server.command.client.files import media_part
from server.command.client.session import open_model
from server.command.flags.connection import add_connection_flags
from server.command.flags.talk import add_talk_flags, request_fields
from server.command.talk.answer import Printer, dim_remark, ending_note, read_answer, speed_note
from server.command.talk.conversation import Conversation

DESCRIPTION: Final = (
    "Ask a model one question and print its answer. Text from a pipe is put in front of the "
    "question. In a terminal, without a question, it is the same as `llamabind chat MODEL`. If no "
    "server runs, it starts one for itself."
)
EXAMPLES: Final = """
examples:
  llamabind run tiny-chat.gguf "What is the capital of France?"
  cat notes.txt | llamabind run tiny-chat.gguf "Sum this up"
  llamabind run tiny-chat.gguf --schema city.json "Name a city"
  llamabind run tiny-chat.gguf --temp 0 --json "Hello"
"""
_INTERRUPTED: Final = 130


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `run`."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="name of a model, path of a GGUF file, or org/repo:QUANT of the hub",
    )
    parser.add_argument("prompt", nargs="*", metavar="PROMPT", help="the question")
    add_talk_flags(parser)
    add_connection_flags(parser, json_help="print the answer as one JSON document")


def run(options: argparse.Namespace) -> int:
    """Print the answer; 130 if Ctrl-C stopped it."""
    try:
        return _run(options)
    except RefusedError as error:
        if error.code != "model_not_found" or options.prompt or " " not in options.model:
            raise
        way_out = f"llamabind run MODEL {shlex.quote(options.model)}"
        raise UsageError(f"the first argument is the model: {way_out}") from error


def _run(options: argparse.Namespace) -> int:
    conversation = Conversation(system=options.system or "", fields=request_fields(options))
    conversation.parts = [media_part(file) for file in options.image]
    text = _question(options.prompt)
    if not text and sys.stdin.isatty():
        from server.command.chat import talk

        with open_model(options) as (client, model):
            return talk(client, model, conversation, options)
    conversation.add_user(text)
    with open_model(options) as (client, model):
        began = time.monotonic()
        printer = None if options.json else Printer(shows_reasoning=not options.hide_reasoning)
        answer = read_answer(
            lambda request: client.stream("POST", paths.chat_path(model), request),
            conversation.request(),
            printer,
        )
        if options.json:
            print(json.dumps({"model": model, **answer.document()}, indent=2))
        dim_remark(ending_note(answer))
        if options.verbose and answer.usage:
            dim_remark(speed_note(answer, time.monotonic() - began))
    return _INTERRUPTED if answer.was_stopped else 0


def _question(words: list[str]) -> str:
    """Text from a pipe or file, then the words of the command line."""
    piped = sys.stdin.read().strip() if _is_given_text(bool(words)) else ""
    return "\n\n".join(part for part in (piped, " ".join(words)) if part)


def _is_given_text(has_words: bool) -> bool:
    """Whether stdin is to be read: beside a question only a pipe or a file, as other inputs, such
    as ssh's, may never end.
    """
    if sys.stdin.isatty():
        return False
    mode = os.fstat(sys.stdin.fileno()).st_mode
    return not has_words or stat.S_ISFIFO(mode) or stat.S_ISREG(mode)
