"""make_client: the client of the server that the flags and variables name."""

import argparse
import os

from server.command.client.address import find_address
from server.command.client.client import Client
from server.command.client.keys import find_key


def make_client(options: argparse.Namespace) -> Client:
    """The client for --url and --api-key-file, or for what the environment has in their place.

    Raises UsageError.
    """
    key = find_key(options.api_key_file, os.environ)
    return Client(find_address(options.url, os.environ), key)
