"""Flag: one thing that can be set from the command line and from the environment."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SETTINGS = "settings."


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A flag, its environment variable, and the field of ServerConfig that it sets.

    A `target` that begins with "settings." is a field of LoadSettings, the server's default for
    every load. `parse` turns text into the value and raises ValueError with a sentence; without one
    the flag is a switch, with a --no- form; one that `means` a value of its own sets that, and has
    no such form. `bare` is the text meant by the flag without a value. A flag that `adds` brings a
    tuple, and may be given several times.
    """

    names: tuple[str, ...]
    target: str
    help: str
    parse: Callable[[str], Any] | None = None
    metavar: str = ""
    env: str = ""
    off_names: tuple[str, ...] = ()
    bare: str | None = None
    means: Any = None
    adds: bool = False

    @property
    def name(self) -> str:
        """The long name."""
        return next(name for name in self.names if name.startswith("--"))

    @property
    def variable(self) -> str:
        """The environment variable: llama-server's, or one of ours."""
        return self.env or f"LLAMABIND_{self.name.strip('-').replace('-', '_').upper()}"

    @property
    def negative_names(self) -> tuple[str, ...]:
        """What switches it off; nothing for a flag with a value."""
        if self.parse or self.means is not None:
            return ()
        return (*self.off_names, f"--no-{self.name.removeprefix('--')}")

    def read(self, text: str) -> Any:
        """The value that `text` stands for; None is none. Raises ValueError."""
        if self.means is not None:
            return self.means if boolean(text) else None
        return (self.parse or boolean)(text)


@dataclass(frozen=True, slots=True)
class Group:
    """Flags that belong together, under a heading of --help."""

    title: str
    flags: tuple[Flag, ...]


_TRUE = ("true", "1", "on", "enabled", "yes")
_FALSE = ("false", "0", "off", "disabled", "no")


def boolean(text: str) -> bool:
    """llama-server's words for yes and no."""
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither on nor off")
