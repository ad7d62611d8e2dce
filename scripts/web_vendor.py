#!/usr/bin/env python3
"""Fetches the JavaScript libraries of the web page, unmodified, as server/web/vendor/packages.json
pins them: `scripts/fetch_web_vendor`.

The packages come from the registry of the `npm` client. A package whose integrity differs from the
pinned one is refused. To update a library, change its `version` and run with --update, which writes
the new integrity and hashes; read the package's changes first.
"""

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).resolve().parent.parent / "server" / "web" / "vendor"
PINS = VENDOR / "packages.json"


class VendorError(Exception):
    """A package is not the pinned one; the message says which and what to do."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="pin what the registry has now")
    update = parser.parse_args().update
    packages = json.loads(PINS.read_text("utf-8"))
    try:
        for package in packages:
            _fetch(package, update=update)
    except VendorError as error:
        sys.exit(f"fetch_web_vendor: {error}")
    if update:
        PINS.write_text(json.dumps(packages, indent=2) + "\n", "utf-8")


def integrity(data: bytes) -> str:
    """The integrity of a file, in the form of npm's registry and of HTML's `integrity`."""
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


def _fetch(package: dict[str, Any], *, update: bool) -> None:
    """Write the pinned files of one package. Raises VendorError."""
    name = f"{package['name']}@{package['version']}"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["npm", "pack", "--silent", name], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        [archive] = Path(folder).glob("*.tgz")
        found = integrity(archive.read_bytes())
        if update:
            package["integrity"] = found
        elif found != package["integrity"]:
            raise VendorError(
                f"{name} has the integrity {found}, expected {package['integrity']}; compare the "
                "package with the vendored files, then pin it with --update"
            )
        with tarfile.open(archive) as tar:
            for file in package["files"]:
                _write(tar, file, update=update)
    print(f"{name}: {len(package['files'])} files")


def _write(tar: tarfile.TarFile, file: dict[str, str], *, update: bool) -> None:
    name = f"package/{file['from']}"
    member = tar.extractfile(name) if name in tar.getnames() else None
    if member is None:
        raise VendorError(f"the package has no file {file['from']!r}; correct packages.json")
    data = member.read()
    if update:
        file["integrity"] = integrity(data)
    elif integrity(data) != file["integrity"]:
        raise VendorError(f"{file['to']} is {integrity(data)}, expected {file['integrity']}")
    target = VENDOR / file["to"]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


if __name__ == "__main__":
    main()
