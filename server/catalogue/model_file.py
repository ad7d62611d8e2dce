"""ModelFile: a model on disk, as the catalogue describes it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from llamabind import GgufHeader
from llamabind.gguf.purpose import purpose_of
from server.catalogue.projectors import ProjectorFile

_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class HubPlace:
    """Where in the hub's cache a model is: the paths of its files in one commit of `repo`, which
    has the names `revisions`.
    """

    repo: str
    commit: str
    paths: tuple[str, ...]
    revisions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One model on disk; a split model has the id and path of its first file.

    `size` (bytes) and `parameter_count` are sums over its files. `broken` is a sentence that says
    why the model cannot be loaded, and `reason` the machine-readable form; `header` may then be
    None. `projector` is the projector beside it that fits. A model of the hub's cache has its place
    there, and `aliases` such as org/repo:Q4_K_M.
    """

    id: str
    path: Path
    size: int
    modified: datetime
    header: GgufHeader | None
    parameter_count: int = 0
    broken: str | None = None
    reason: str | None = None
    projector: ProjectorFile | None = None
    hub: HubPlace | None = None
    aliases: tuple[str, ...] = ()

    @property
    def generates(self) -> bool:
        """Whether its header describes a model that generates text; True without a header."""
        return self.header is None or purpose_of(self.header) == "generation"


def missing_model(model_id: str, file: Path, problem: str | None = None) -> ModelFile:
    """A configured model whose file does not exist, or is not a model of its own."""
    problem = problem or f"its file {file.name} does not exist, or belongs to another model"
    return ModelFile(model_id, file, 0, _EPOCH, None, broken=problem, reason="missing_file")


def unreadable_model(model_id: str, path: Path, error: OSError) -> ModelFile:
    """A model whose file cannot be read."""
    problem = f"the file cannot be read: {error.strerror or type(error).__name__}"
    return ModelFile(model_id, path, 0, _EPOCH, None, broken=problem, reason="corrupt_file")


def file_time(seconds: float) -> datetime:
    """A file's time; the epoch if it is out of range, which some file systems report."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return _EPOCH
