"""`llamabind show`: all about one model."""

import argparse
import json
import sys
from typing import Any, Final

from server.command.client import paths
from server.command.client.client import Client
from server.command.client.errors import RefusedError
from server.command.client.make_client import make_client
from server.command.flags.connection import add_connection_flags
from server.command.load import estimate_text
from server.command.ls import quantisation
from server.command.terminal.formats import ago, count, size
from server.command.terminal.screen import is_terminal, safe, styled
from server.command.terminal.table import format_pairs

DESCRIPTION: Final = (
    "Show what a model is: architecture, quantisation, context and capabilities; the settings "
    "that it has or would be loaded with; and the memory that it needs."
)
EXAMPLES: Final = """
examples:
  llamabind show tiny-chat.gguf
  llamabind show tiny-chat.gguf --template     the chat template alone
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `show`."""
    parser.add_argument("model", metavar="MODEL", help="name of a model, as `ls` lists it")
    parser.add_argument("--template", action="store_true", help="print the chat template only")
    add_connection_flags(parser)


def run(options: argparse.Namespace) -> int:
    """Print the sections, or the documents of the three endpoints as one."""
    client = make_client(options)
    model = client.get(paths.model_path(options.model))
    details = client.post("/api/show", {"model": options.model})
    if options.template:
        template = details["template"]
        print(safe(template) if is_terminal(sys.stdout) else template)
        return 0
    estimate = None if model["memory"] else _estimate(client, options.model)
    if options.json:
        document = model | {"template": details["template"], "estimate": estimate}
        document |= {"capabilities": details["capabilities"], "header": details["model_info"]}
        print(json.dumps(document, indent=2))
        return 0
    print("\n\n".join(_sections(model, details, estimate)))
    return 0


def _estimate(client: Client, model: str) -> dict[str, Any] | None:
    """The memory of a load with the defaults; None if the server refuses to estimate it."""
    try:
        estimate: dict[str, Any] = client.post(paths.model_path(model, "estimate"))
    except RefusedError:  # a broken file, or a key that may not load
        return None
    return estimate


def _sections(
    model: dict[str, Any], details: dict[str, Any], estimate: dict[str, Any] | None
) -> list[str]:
    parts = [_section("Model", _model_pairs(model, details))]
    if failure := model.get("failure"):
        parts.append(_section("Failed", [("reason", failure["detail"] or failure["reason"])]))
    settings = model["settings"]
    if settings["effective"]:
        parts.append(_section("Loaded with", _setting_pairs(settings["effective"])))
    elif settings["defaults"]:
        parts.append(_section("Would be loaded with", _setting_pairs(settings["defaults"])))
    if model["memory"]:
        pairs = [(device["device"], size(device["used_bytes"])) for device in model["memory"]]
        parts.append(_section("Memory", pairs))
    elif estimate:
        lines = estimate_text(estimate).split("\n")
        parts.append("\n".join([styled("Memory of a load", "bold"), *(f"  {x}" for x in lines)]))
    if template := details["template"]:
        length, first = len(template), template.strip().split("\n")[0]
        text = f"{length} characters (--template prints them): {first[:60]}"
        parts.append(_section("Chat template", [("Jinja", text)]))
    parts += [_section("Warnings", [("", warning)]) for warning in model["warnings"]]
    return parts


def _model_pairs(model: dict[str, Any], details: dict[str, Any]) -> list[tuple[str, str]]:
    metadata = model["metadata"]
    sizes = metadata["parameters"]
    pairs = [
        ("name", model["id"]),
        ("also named", ", ".join(model.get("aliases") or [])),
        ("title", metadata["name"]),
        ("status", model["status"]),
        ("architecture", metadata["model_type"]),
        ("parameters", count(metadata["parameter_count"])),
        ("quantisation", quantisation(metadata["file_type"])),
        ("file", f"{size(model['size'])}, modified {ago(model['modified'])}"),
        ("training context", _tokens(sizes["context_length"])),
        ("layers", sizes["block_count"]),
        ("embedding length", sizes["embedding_length"]),
        ("capabilities", ", ".join(details["capabilities"])),
        ("licence", (details.get("license") or "").split("\n")[0][:60]),
    ]
    return [(name, str(value)) for name, value in pairs if value not in (None, "", "-")]


def _tokens(number: int | None) -> str:
    return "" if number is None else f"{number} tokens"


def _setting_pairs(settings: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = []
    for name, value in settings.items():
        if value is None or value in ([], {}):
            continue
        text = value if isinstance(value, str) else json.dumps(value)
        pairs.append((name, text if len(text) <= 80 else f"{text[:77]}..."))
    return pairs


def _section(title: str, pairs: list[tuple[str, str]]) -> str:
    return f"{styled(title, 'bold')}\n{format_pairs([(safe(name), text) for name, text in pairs])}"
