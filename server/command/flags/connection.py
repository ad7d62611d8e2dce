"""Flags of every subcommand that talks to a server: its address, the key, --json."""

import argparse


def add_connection_flags(
    parser: argparse.ArgumentParser, *, json_help: str = "print one JSON document"
) -> None:
    """Add --url, --api-key-file and --json."""
    section = parser.add_argument_group("the server")
    section.add_argument(
        "--url",
        metavar="URL",
        help="address of the server, such as http://127.0.0.1:8080 or unix:/run/llamabind.sock "
        "[LLAMABIND_URL]",
    )
    section.add_argument(
        "--api-key-file",
        metavar="FILE",
        help="file that holds the API key in its first line; the variable LLAMABIND_API_KEY holds "
        "the key itself [LLAMA_ARG_API_KEY_FILE]",
    )
    parser.add_argument("--json", action="store_true", help=json_help)
