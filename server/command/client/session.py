"""open_model: the server and the model for a conversation, both started if needed."""

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from server.command.client import paths
from server.command.client.client import Client
from server.command.client.download import download
from server.command.client.errors import CommandError, NoServerError, RefusedError, UsageError
from server.command.client.loading import load_with_bar
from server.command.client.make_client import make_client
from server.command.client.own_server import own_server
from server.command.terminal.screen import say

_BUNDLED: Final = "tiny-chat.gguf"
# A model of the hub, as `pull` takes it.
_HUB_NAME: Final = re.compile(r"(?:hf\.co/)?[\w.-]+/[\w.-]+(?::[\w.-]+)?(?:@[\w./-]+)?", re.ASCII)


@contextmanager
def open_server(options: argparse.Namespace, flags: Sequence[str] = ()) -> Iterator[Client]:
    """The running server of the flags and variables; without any, one of our own with `flags`."""
    client = make_client(options)
    if client.address.is_chosen or client.is_running():
        yield client
        return
    say(f"no server runs at {client.address}; starting one for this command")
    with own_server(flags) as own:
        yield own


@contextmanager
def open_model(options: argparse.Namespace) -> Iterator[tuple[Client, str]]:
    """A server and the name of a model on it: `options.model` is the path of a file, a name, a
    reference of the hub, which is downloaded first, or None to let the command choose.

    Raises CommandError.
    """
    name: str | None = options.model
    if name is not None and _is_path(make_client(options), name):
        file = Path(name).expanduser()
        if not os.path.isfile(file):  # noqa: PTH113 - Path.is_file raises where access is denied
            is_folder = os.path.isdir(file)  # noqa: PTH112
            wrong = "is a folder; name a file in it" if is_folder else "does not exist"
            raise UsageError(f"the model file {name} {wrong}")
        if options.url is not None:
            raise UsageError(
                f"{name} is a file of this machine, which the server at --url cannot load; name "
                "one of its models (`llamabind ls`), or leave out --url"
            )
        say(f"starting a server of {name} for this command")
        with own_server(["--model", str(file.absolute())]) as client:
            yield client, _ready(client, _only(client))
        return
    directory = getattr(options, "models_dir", None)
    flags = ["--models-dir", str(Path(directory).expanduser().absolute())] if directory else []
    with open_server(options, flags) as client:
        yield client, _ready(client, _default(client) if name is None else _find(client, name))


def find_model(client: Client, name: str) -> str:
    """The id of the model with this name or alias. Raises RefusedError (404)."""
    found: str = client.get(paths.model_path(name))["id"]
    return found


def _is_path(client: Client, name: str) -> bool:
    """Whether `name` is a path; a bare NAME.gguf is not one if the server lists it as a model."""
    if name.startswith(("/", "./", "../", "~")):
        return True
    if not (name.endswith(".gguf") and os.path.isfile(name)):  # noqa: PTH113
        return False
    try:
        find_model(client, name)
    except NoServerError:
        if client.address.is_chosen:
            raise
        return True
    except RefusedError as error:
        if error.status != 404:
            raise
        return True
    return False


def _find(client: Client, name: str) -> str:
    try:
        return find_model(client, name)
    except RefusedError as error:
        if error.status != 404 or name.endswith(".gguf") or not _HUB_NAME.fullmatch(name):
            raise
    found: str = download(client, name)["model_id"]
    return found


def _only(client: Client) -> str:
    [model] = client.get(paths.MODELS)["available_models"]
    return str(model["id"])


def _default(client: Client) -> str:
    """The loaded model, else the only one besides the bundled, else the newest; says which."""
    models = [
        model
        for model in client.get("/v1/models")["data"]
        if "completion" in model["capabilities"] and not model["status"].get("failed")
    ]
    if not models:
        raise CommandError(
            "the server has no model that can chat; get one with `llamabind pull org/repo:QUANT`"
        )
    own = [model for model in models if model["id"] != _BUNDLED]
    loaded = [model for model in models if model["status"]["value"] == "loaded"]
    model = max(loaded or own or models, key=lambda one: int(one["created"]))
    if not own:
        say(f"using {_BUNDLED}, a small demo; `llamabind pull org/repo:QUANT` gets a real model")
    elif len(models) > 1:
        why = "which is loaded" if loaded else "the newest" if len(own) > 1 else ""
        say(f"using {model['id']}{f', {why}' if why else ''}; `llamabind ls` lists all models")
    return str(model["id"])


def _ready(client: Client, model: str) -> str:
    """The model, loaded. Without the right to load, the first message loads it."""
    document: dict[str, Any] = client.get(paths.model_path(model))
    if document["status"] != "loaded":
        try:
            load_with_bar(client, model, {})
        except RefusedError as error:
            if error.code != "admin_key_required":
                raise
    return model
