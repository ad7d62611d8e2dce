"""chat_loop: reads messages and prints answers until the person leaves."""

import json
import sys
import time
from collections.abc import Callable
from typing import Final

from server.command.client.errors import CommandError, NoServerError, RefusedError
from server.command.talk.answer import (
    Ask,
    Printer,
    dim_remark,
    ending_note,
    read_answer,
    speed_note,
)
from server.command.talk.commands import Chat, is_command, run_command
from server.command.talk.prompt import Prompt
from server.command.terminal.screen import say

_INTERRUPTED: Final = 130


def chat_loop(
    chat: Chat,
    ask: Callable[[str], Ask],
    prompt: Prompt,
    *,
    as_json: bool = False,
    shows_reasoning: bool = True,
) -> int:
    """Talk until the input ends; returns the exit status.

    `ask` makes the function that sends a request to a model. Ctrl-C during an answer stops it; at
    the prompt it takes a second one in a row to leave. Errors of a request do not end the chat,
    unless the server is gone.
    """
    was_interrupted = False
    while not chat.is_over:
        try:
            text = prompt.read()
        except EOFError:
            break
        except KeyboardInterrupt:
            if was_interrupted:
                print(file=sys.stderr)
                return _INTERRUPTED
            was_interrupted = True
            dim_remark("\n(Ctrl-C again, Ctrl-D or /bye to leave)")
            continue
        was_interrupted = False
        try:
            if _takes(chat, text):
                _answer(chat, ask(chat.model), as_json=as_json, shows_reasoning=shows_reasoning)
        except NoServerError:
            raise
        except CommandError as error:
            say(f"error: {error}{_advice(error)}")
        except KeyboardInterrupt:  # between the answer and the next prompt, or in a load
            dim_remark("(stopped)")
    if sys.stdin.isatty():
        print(file=sys.stderr)
    return 0


def _advice(error: CommandError) -> str:
    """What to do about an error in a chat; "" if /clear does not help."""
    is_full = isinstance(error, RefusedError) and error.code == "context_length_exceeded"
    return "; /clear starts a new conversation" if is_full else ""


def _takes(chat: Chat, text: str) -> bool:
    """Handle a line; returns whether the model has to answer."""
    if is_command(text):
        if remark := run_command(chat, text):
            dim_remark(remark)
        asks_again, chat.asks_again = chat.asks_again, False
        return asks_again
    if not text and not chat.conversation.parts:
        return False
    chat.conversation.add_user(text)
    return True


def _answer(chat: Chat, ask: Ask, *, as_json: bool, shows_reasoning: bool) -> None:
    began = time.monotonic()
    printer = None if as_json else Printer(shows_reasoning=shows_reasoning)
    try:
        answer = read_answer(ask, chat.conversation.request(), printer)
    except CommandError:
        # If it stayed in the conversation, the next message would be refused as well.
        chat.conversation.drop_question()
        raise
    if answer.content or not answer.was_stopped:
        chat.conversation.add_answer(answer.content)
    else:
        chat.conversation.drop_question()
    if as_json:
        print(json.dumps(answer.document()), flush=True)
        return
    dim_remark(ending_note(answer))
    if chat.shows_speed and answer.usage:
        dim_remark(speed_note(answer, time.monotonic() - began))
    if sys.stdin.isatty():
        print(flush=True)
