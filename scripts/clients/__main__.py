"""The command line; scripts/clients/run calls it."""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from clients.agents import AGENTS
from clients.client import Agent, Client
from clients.drive import as_json, drive, version_of
from clients.libraries import LIBRARIES
from clients.shapes import write_shapes

_ALL: tuple[Client, ...] = (*AGENTS, *LIBRARIES)
_CLIENTS = {client.name: client for client in _ALL}
_GROUPS: dict[str, tuple[Client, ...]] = {"agents": AGENTS, "libraries": LIBRARIES}


def main() -> int:
    """Exit status 1 if a check failed or the server answered with a status of 400 or more."""
    arguments = _arguments()
    if arguments.list:
        print("\n".join(_CLIENTS))
        return 0
    documents = [
        _report(client, arguments.keep, with_shapes=arguments.shapes)
        for client in _chosen(arguments.clients)
    ]
    if arguments.json:
        arguments.json.write_text(json.dumps(documents, indent=1) + "\n")
    return 1 if any(_is_bad(document) for document in documents) else 0


def _report(client: Client, keep: Path | None, *, with_shapes: bool) -> dict[str, Any]:
    """Run a client, print what it found, and return that as a document."""
    # Not the system's folder for temporary files: Codex refuses to put its helpers there.
    folder = Path(tempfile.mkdtemp(prefix=f".{client.name}-", dir=Path.home()))
    try:
        results, server = drive(client, folder)
        refused, paths = server.refused(), server.paths()
        if with_shapes and isinstance(client, Agent):
            write_shapes(client.name, server.recorded)
        if keep:
            shutil.copytree(folder / "requests", keep / client.name, dirs_exist_ok=True)
            shutil.copy(server.log, keep / client.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    versions = _versions(client)
    print(f"{client.name} ({versions})")
    for result in results:
        status = f"failed: {result.error}" if result.error else "ok"
        print(f"  {result.check:<18}{status}")
    for line in refused:
        print(f"  log: {line}")
    print(f"  requests: {', '.join(f'{n} {path}' for path, n in paths.items())}", flush=True)
    return {
        "client": client.name,
        "versions": versions,
        "checks": as_json(results),
        "refused": refused,
    }


def _versions(client: Client) -> str:
    packages = (client.package,) if isinstance(client, Agent) else client.packages
    return ", ".join(
        f"{package} {version_of(client.environment, package, is_node=client.is_node)}"
        for package in packages
    )


def _is_bad(document: dict[str, Any]) -> bool:
    return bool(document["refused"]) or any(check["error"] for check in document["checks"])


def _chosen(names: list[str]) -> tuple[Client, ...]:
    """The clients and groups of these names; all without any."""
    chosen: list[Client] = []
    for name in names:
        if name in _CLIENTS:
            chosen.append(_CLIENTS[name])
        elif name in _GROUPS:
            chosen += _GROUPS[name]
        else:
            sys.exit(f"no client is called {name!r}; --list prints all names")
    return tuple(chosen) or _ALL


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/clients/run",
        description="Drive real clients against this checkout's server with the bundled model. "
        "Clients are installed into a cache folder (CLIENTS_CACHE); each gets an empty home folder "
        "and cannot reach other hosts through the usual proxy variables.",
    )
    parser.add_argument(
        "clients", nargs="*", metavar="NAME", help="a client, 'agents' or 'libraries'; default: all"
    )
    parser.add_argument("--list", action="store_true", help="print the names of all clients")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to FILE")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep each client's requests and server log"
    )
    parser.add_argument(
        "--shapes",
        action="store_true",
        help="write the shapes of the agents' requests to scripts/clients/requests",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
