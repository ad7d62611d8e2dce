"""ServerConfig: how this server runs, from the command line."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Self

_LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Everything that can be set; times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8080
    models_dir: Path = Path("models")
    bundled_model: bool = True
    load_timeout: float = 600.0
    drain_seconds: float = 30.0
    header_hold_seconds: float = 5.0
    ping_seconds: float = 30.0
    # Images arrive as data URLs inside the JSON; text alone never comes near this.
    max_body_mb: int = 32
    log_level: str = "info"

    @classmethod
    def from_arguments(cls, arguments: Sequence[str] | None = None) -> Self:
        """Parse a command line; exits with a message when it is wrong."""
        values = vars(_parser().parse_args(arguments))
        return cls(**{field.name: values[field.name] for field in fields(cls)})

    @property
    def model_directories(self) -> tuple[Path, ...]:
        """Where models are looked for; the user's own come first."""
        bundled = Path(str(resources.files("llamabind"))) / "models"
        return (self.models_dir, bundled) if self.bundled_model else (self.models_dir,)

    @property
    def worker_command(self) -> tuple[str, ...]:
        """The command that starts a worker process."""
        return (sys.executable, "-m", "server.worker")


def _parser() -> argparse.ArgumentParser:
    default = ServerConfig()
    parser = argparse.ArgumentParser(
        prog="python -m server",
        description="Serve GGUF models over HTTP.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    listening = parser.add_argument_group("listening")
    listening.add_argument("--host", default=default.host, help="address to bind to")
    listening.add_argument("--port", type=_port, default=default.port, help="0 is any free port")
    models = parser.add_argument_group("models")
    models.add_argument(
        "--models-dir",
        type=Path,
        default=default.models_dir,
        metavar="DIR",
        help="folder of GGUF files, with sub-folders; it may be missing",
    )
    models.add_argument(
        "--no-bundled-model",
        dest="bundled_model",
        action="store_false",
        help="do not list the small model that comes with the package",
    )
    models.add_argument(
        "--load-timeout",
        type=_seconds,
        default=default.load_timeout,
        metavar="SECONDS",
        help="a load that takes longer has failed",
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--drain-seconds",
        type=_seconds,
        default=default.drain_seconds,
        metavar="SECONDS",
        help="how long running answers may take to finish at an unload or at the end",
    )
    limits.add_argument(
        "--header-hold-seconds",
        type=_seconds,
        default=default.header_hold_seconds,
        metavar="SECONDS",
        help="a stream's headers wait so long for its first text, so that errors have a status",
    )
    limits.add_argument(
        "--ping-seconds",
        type=_seconds,
        default=default.ping_seconds,
        metavar="SECONDS",
        help="a silent stream sends a comment so often",
    )
    limits.add_argument(
        "--max-body-mb",
        type=_positive,
        default=default.max_body_mb,
        metavar="MB",
        help="largest request body",
    )
    logs = parser.add_argument_group("logging")
    logs.add_argument(
        "--log-level", choices=_LOG_LEVELS, default=default.log_level, help="verbosity"
    )
    return parser


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65_535:
        raise argparse.ArgumentTypeError(f"{number} is no port, expected 0 to 65535")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is out of range, expected 0 to 86400 seconds")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 4096:
        raise argparse.ArgumentTypeError(f"{number} is out of range, expected 1 to 4096")
    return number
