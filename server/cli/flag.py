"""Flag: one setting that the command line and the environment can change."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SETTINGS = "settings."


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A flag, its environment variable, and the field of ServerConfig that it sets.

    A `target` that begins with "settings." is a field of LoadSettings, the server's default for
    every load. `parse` turns text into the value and raises ValueError with a sentence. A flag
    without `parse` is a switch: it sets the value `means`, or, if that is None, it sets True and
    its --no- form sets False. `bare` is the text to parse when the flag is given without a value.
    With `adds` the value is a tuple, and repeated flags extend it.
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
        """The environment variable: llama-server's, or LLAMABIND_ and the flag's name."""
        return self.env or f"LLAMABIND_{self.name.strip('-').replace('-', '_').upper()}"

    @property
    def negative_names(self) -> tuple[str, ...]:
        """The names that switch it off; () for a flag with a value."""
        if self.parse or self.means is not None:
            return ()
        return (*self.off_names, f"--no-{self.name.removeprefix('--')}")

    def read(self, text: str) -> Any:
        """The value for `text`; None leaves the default. Raises ValueError."""
        if self.means is not None:
            return self.means if boolean(text) else None
        return (self.parse or boolean)(text)


@dataclass(frozen=True, slots=True)
class Group:
    """Flags under one heading of --help."""

    title: str
    flags: tuple[Flag, ...]


_TRUE = ("true", "1", "on", "enabled", "yes")
_FALSE = ("false", "0", "off", "disabled", "no")


def boolean(text: str) -> bool:
    """A switch's value, in the words that llama-server accepts. Raises ValueError."""
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"{text!r} is not a switch value, expected on or off")
