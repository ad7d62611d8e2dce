"""What is driven: libraries by scripts that use them, agents by tasks; and how a check ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Call: TypeAlias = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Result:
    """The end of one check; `error` is empty if it succeeded."""

    check: str
    error: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Library:
    """A library, checked by a script of checks/ (a module) or node/ (a file *.mjs).

    `environment` names its versions in versions/; `packages` are those whose versions are printed.
    """

    name: str
    environment: str
    script: str
    arguments: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    @property
    def is_node(self) -> bool:
        """Whether the script runs in Node."""
        return self.script.endswith(".mjs")


@dataclass(frozen=True, slots=True)
class Task:
    """One headless run of an agent.

    `answer` must be in its output, and `file` must then exist in the work folder with the text of
    the note. A task that `resumes` goes on with the conversation of the one before.
    """

    check: str
    prompt: str
    answer: str
    file: str = ""
    resumes: bool = False


@dataclass(frozen=True, slots=True)
class Agent:
    """A coding agent.

    `start` and `resume` are its commands, `files` settings to write into its home folder ("~/...")
    or its work folder. `calls` are the tools that the script calls, by the name of the task (see
    scripted/script.py); tasks without are left out. In all of them `{base_url}`, `{model}`,
    `{work}` and `{prompt}` are filled in.
    """

    name: str
    environment: str
    package: str
    start: tuple[str, ...]
    calls: Mapping[str, tuple[Call, ...]]
    resume: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    is_node: bool = True


Client: TypeAlias = Library | Agent
