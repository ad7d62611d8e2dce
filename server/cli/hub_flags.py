"""Flags for models of a hub: which one to serve, and where the cache is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.cli.flag import Flag
from server.cli.values.files import folder
from server.config import ServerConfig
from server.hub.cache import default_root
from server.hub.reference import ModelReference, check_file

_NONE = "none"
_TRUE = ("1", "on", "yes", "true")


def _file(text: str) -> str:
    check_file(text)
    return text


def _token(text: str) -> str:
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("the token has characters that no token has")
    return text


def _cache(text: str) -> Path | None:
    return None if text == _NONE else folder(text)


HUB_FLAGS = (
    Flag(
        names=("-hf", "-hfr", "--hf-repo"),
        target="hub_repo",
        env="LLAMA_ARG_HF_REPO",
        parse=ModelReference.parse,
        metavar="ORG/REPO[:QUANT]",
        help="download this model if it is not in the cache, then serve it only; if QUANT is left "
        "out: Q4_K_M, else Q8_0, else the repository's first model",
    ),
    Flag(
        names=("-hff", "--hf-file"),
        target="hub_file",
        env="LLAMA_ARG_HF_FILE",
        parse=_file,
        metavar="FILE",
        help="file of --hf-repo, in place of QUANT",
    ),
    Flag(
        names=("-hft", "--hf-token"),
        target="hub_token",
        env="HF_TOKEN",
        parse=_token,
        metavar="TOKEN",
        help="token for the hub; the variable keeps it out of the list of processes",
    ),
    Flag(
        names=("--hub-cache",),
        target="hub_cache",
        parse=_cache,
        metavar="DIR",
        help="the hub's cache, whose models are listed and where downloads go; default as "
        "llama.cpp's: LLAMA_CACHE, HF_HUB_CACHE, HF_HOME/hub or ~/.cache/huggingface/hub; none "
        "lists no downloaded models",
    ),
    Flag(
        names=("--offline",),
        target="offline",
        env="LLAMA_ARG_OFFLINE",
        help="never contact the hub; models in the cache can be loaded (HF_HUB_OFFLINE=1 does the "
        "same)",
    ),
)


def with_hub_defaults(values: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The values of flags, with the cache and the offline mode that the environment asks for."""
    offline = environment.get("HF_HUB_OFFLINE", "").lower() in _TRUE
    defaults = {"hub_cache": default_root(environment), "offline": offline}
    return defaults | dict(values)


def wrong_hub(config: ServerConfig) -> str | None:
    """What is wrong with the flags for a hub; None if nothing."""
    if config.hub_file is not None and config.hub_repo is None:
        return "argument -hff/--hf-file needs --hf-repo ORG/REPO"
    if config.hub_repo is not None and config.model_file is not None:
        return "arguments -m/--model and -hf/--hf-repo both name the model to serve; give one"
    return None
