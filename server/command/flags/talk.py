"""Flags that `run` and `chat` share."""

import argparse
from typing import Any

from server.command.client.files import response_format
from server.command.flags.tables import add_sampling_flags, sampling_fields


def add_talk_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that `run` and `chat` share."""
    parser.add_argument("--system", metavar="TEXT", help="the system prompt")
    parser.add_argument(
        "--schema", metavar="FILE", help="JSON schema that the answer has to follow"
    )
    parser.add_argument(
        "--image",
        metavar="FILE",
        action="append",
        default=[],
        help="send an image or audio file with the first message; may be repeated",
    )
    parser.add_argument(
        "--think",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="let a model with reasoning reason before it answers",
    )
    parser.add_argument(
        "--hide-reasoning", action="store_true", help="do not print the model's reasoning"
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="print tokens and speed after each answer"
    )
    parser.add_argument(
        "--models-dir",
        metavar="DIR",
        help="folder of models for the server that this command starts if none is running "
        "[LLAMA_ARG_MODELS_DIR]",
    )
    add_sampling_flags(parser)


def request_fields(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of a request that the flags set. Raises CommandError."""
    fields = sampling_fields(options)
    if options.think is not None:
        fields["enable_thinking"] = options.think
    if options.schema:
        fields["response_format"] = response_format(options.schema)
    return fields
