"""`llamabind chat`: talk to a model in the terminal."""

import argparse
import sys
from collections.abc import Generator
from functools import partial
from typing import Any, Final

from server.command.client import paths
from server.command.client.client import Client
from server.command.client.errors import CommandError
from server.command.client.loading import load_with_bar
from server.command.client.session import find_model, open_model
from server.command.flags.connection import add_connection_flags
from server.command.flags.talk import add_talk_flags, request_fields
from server.command.talk.commands import Chat, command_names
from server.command.talk.conversation import Conversation
from server.command.talk.line_editor import completions, line_reader
from server.command.talk.loop import chat_loop
from server.command.talk.prompt import Prompt
from server.command.terminal.screen import say

DESCRIPTION: Final = (
    "Talk to a model. If no server runs, it starts one for itself, which ends with the chat. "
    "In the chat, /help lists the commands."
)
EXAMPLES: Final = """
examples:
  llamabind chat                            the loaded model, else the newest one
  llamabind chat tiny-chat.gguf             a model of the server
  llamabind chat ./model-Q4_K_M.gguf        a file
  llamabind chat org/repo:Q4_K_M            a model of the hub; downloaded first
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `chat`."""
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="name of a model, path of a GGUF file, or org/repo:QUANT of the hub",
    )
    parser.add_argument("--load", metavar="NAME", help="continue a conversation saved by /save")
    add_talk_flags(parser)
    add_connection_flags(parser, json_help="print a line of JSON for each answer")


def run(options: argparse.Namespace) -> int:
    """Open the model and talk."""
    conversation = Conversation(system=options.system or "", fields=request_fields(options))
    if options.load:
        conversation.load(options.load)
    with open_model(options) as (client, model):
        return talk(client, model, conversation, options)


def talk(
    client: Client, model: str, conversation: Conversation, options: argparse.Namespace
) -> int:
    """The chat with an open model."""
    chat = Chat(
        model=model,
        models=_ServerModels(client),
        conversation=conversation,
        shows_speed=options.verbose,
    )
    if sys.stdin.isatty() and not options.json:
        say(f"{model} - /help lists the commands, Ctrl-D leaves")

    def complete(line: str) -> list[str]:
        try:
            return completions(line, command_names(), chat.models.names)
        except CommandError:  # no names without the server
            return []

    with line_reader(complete) as read_line:
        return chat_loop(
            chat,
            lambda name: partial(_ask, client, name),
            Prompt(read_line),
            as_json=options.json,
            shows_reasoning=not options.hide_reasoning,
        )


def _ask(client: Client, model: str, request: dict[str, Any]) -> Generator[Any, None, None]:
    return client.stream("POST", paths.chat_path(model), request)


class _ServerModels:
    def __init__(self, client: Client) -> None:
        self._client = client

    def names(self) -> list[str]:
        return [model["id"] for model in self._client.get(paths.MODELS)["available_models"]]

    def choose(self, name: str) -> str:
        model = find_model(self._client, name)
        if self._client.get(paths.model_path(model))["status"] != "loaded":
            load_with_bar(self._client, model, {})
        return model
