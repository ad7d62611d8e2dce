"""ModelReference: the name of a model on a hub, `org/repo[:QUANT][@revision]`."""

import re
from dataclasses import dataclass

_HOSTS = re.compile(r"(?:https?://)?(?:www\.)?(?:hf\.co|huggingface\.co)/", re.IGNORECASE)
# The rules of huggingface_hub's validator, which also checks each name.
_NAME = re.compile(r"[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?", re.ASCII)
_QUANT = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9](?:[\w./-]{0,253}[\w-])?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MAX_PATH_BYTES = 1024
_MAX_PART_BYTES = 255
_FORM = "expected org/repo, org/repo:QUANT or org/repo:QUANT@revision"
# Ollama's tag of a name without one.
_NO_QUANT = "latest"
MAIN = "main"


class BadReferenceError(ValueError):
    """A name on the hub is invalid; `field` is the field of the request that has it."""

    def __init__(self, message: str, field: str = "model") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A model on the hub. Without `quant` the best quantisation of the repository is meant."""

    repo: str
    quant: str | None = None
    revision: str = MAIN

    @classmethod
    def parse(cls, text: str) -> "ModelReference":
        """From `org/repo[:QUANT][@revision]`, with or without hf.co/ in front. Raises
        BadReferenceError.
        """
        rest = text.strip()
        if host := _HOSTS.match(rest):
            rest = rest[host.end() :]
        rest, at, revision = rest.partition("@")
        repo, colon, quant = rest.partition(":")
        check_repo(repo, text)
        if colon and not _QUANT.fullmatch(quant):
            raise BadReferenceError(
                f"{_shown(text)}: {_shown(quant)} is not a quantisation; {_FORM}"
            )
        if at:
            check_revision(revision)
        no_quant = not quant or quant.lower() == _NO_QUANT
        return cls(repo, None if no_quant else quant, revision or MAIN)

    def __str__(self) -> str:
        quant = f":{self.quant}" if self.quant else ""
        return f"{self.repo}{quant}" + (f"@{self.revision}" if self.revision != MAIN else "")


def is_reference(text: str) -> bool:
    """Whether the text has the form of a model's name on a hub."""
    try:
        ModelReference.parse(text)
    except BadReferenceError:
        return False
    return True


def check_repo(repo: str, text: str | None = None) -> None:
    """Raise BadReferenceError unless `repo` is org/name; `text` is what the client sent."""
    org, slash, name = repo.partition("/")
    valid = bool(slash) and bool(_NAME.fullmatch(org)) and bool(_NAME.fullmatch(name))
    if not valid or "--" in repo or ".." in repo or repo.endswith(".git"):
        raise BadReferenceError(
            f"{_shown(repo if text is None else text)} is not the name of a repository; {_FORM}"
        )


def is_repo(repo: str) -> bool:
    """Whether `repo` is org/name."""
    try:
        check_repo(repo)
    except BadReferenceError:
        return False
    return True


def check_revision(revision: str) -> None:
    """Raise BadReferenceError unless `revision` may be a branch, a tag or a commit, as in git."""
    parts = revision.split("/")
    is_wrong = any(not part or part[0] in ".-" or part.endswith((".lock", ".")) for part in parts)
    if not _REVISION.fullmatch(revision) or ".." in revision or is_wrong:
        raise BadReferenceError(
            f"{_shown(revision)} is not a revision; expected a branch, a tag or a commit",
            "revision",
        )


def is_commit(revision: str) -> bool:
    """Whether the revision is a whole commit hash."""
    return _COMMIT.fullmatch(revision) is not None


def check_file(path: str) -> None:
    """Raise BadReferenceError unless `path` is a GGUF file's path inside a repository."""
    if problem := why_not_a_path(path):
        raise BadReferenceError(f"{_shown(path)} is not a file in a repository: {problem}", "file")
    if not path.lower().endswith(".gguf"):
        raise BadReferenceError(f"{_shown(path)} does not end in .gguf", "file")


def why_not_a_path(path: str) -> str | None:
    """Why this cannot be a file's path below a folder on this machine; None if it can."""
    if not path.isprintable() or path.encode(errors="ignore").decode() != path or "\\" in path:
        return "it has characters that file names may not have here"
    if len(path.encode()) > _MAX_PATH_BYTES:
        return f"it is longer than {_MAX_PATH_BYTES} bytes"
    for part in path.split("/"):
        if part in ("", ".", ".."):
            return "it has empty parts, or parts of dots only"
        if part.startswith(".") or part != part.strip() or len(part.encode()) > _MAX_PART_BYTES:
            return "a part begins with a dot, has spaces at its ends, or is over 255 bytes"
    return None


def _shown(text: str) -> str:
    """At most 100 characters of what a client sent, quoted."""
    return repr(text if len(text) <= 100 else text[:100] + "...")
