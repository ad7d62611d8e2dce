"""ServerConfig: everything about this server that can be set; server.cli.parser reads it."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from server.catalogue.model_settings import ModelSettings
from server.protocol.load_settings import LoadSettings

_SOURCE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """How this server runs. Times in seconds; docs/running.md explains each by its flag."""

    # Where it listens: addresses, names, or paths of Unix sockets.
    hosts: tuple[str, ...] = ("127.0.0.1",)
    port: int = 8080
    api_prefix: str = ""
    ssl_cert_file: Path | None = None
    ssl_key_file: Path | None = None

    # Who may use it. Keys never appear in a log: not in this object's repr either.
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    admin_keys: tuple[str, ...] = field(default=(), repr=False)
    insecure_no_auth: bool = False
    allowed_hosts: tuple[str, ...] = ()
    # Whom pictures may be fetched from; "*" is everybody on the internet.
    media_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ("localhost",)
    cors_methods: str = "GET, POST, OPTIONS"
    cors_headers: str = "*"
    cors_credentials: bool = False

    # What it serves.
    models_dir: Path = Path("models")
    bundled_model: bool = True
    model_file: Path | None = None
    aliases: tuple[str, ...] = ()
    # Links that lead out of the models directory are followed only then.
    follow_links: bool = False
    models_max: int = 0
    # Most that all models together may take; 0 is what is free. Devices by name, as in CUDA0.
    memory_budget_mb: int = 0
    device_budgets: tuple[tuple[str, int], ...] = ()
    model_settings: ModelSettings | None = None
    models_autoload: bool = True
    ttl_seconds: float = math.inf
    load_timeout: float = 600.0
    # What a load takes that says nothing else.
    default_settings: LoadSettings = field(default_factory=LoadSettings)
    # Files that these name and that lie anywhere; settings have only the last part of their paths.
    companions: tuple[Path, ...] = ()
    # What a chat has that says nothing else; None is the template's own.
    reasoning_format: str | None = None
    enable_thinking: bool | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    # Tokens of a thought; -1 is no limit.
    reasoning_budget: int = -1
    reasoning_budget_message: str = ""
    metrics: bool = True
    slots: bool = True
    props: bool = False
    # Where slots are saved; without it they are not.
    slot_save_path: Path | None = None

    # Limits.
    drain_seconds: float = 30.0
    header_hold_seconds: float = 5.0
    max_queue: int = 256
    stall_seconds: float = 300.0
    ping_seconds: float = 30.0
    client_seconds: float = 60.0
    write_seconds: float = 60.0
    keepalive_seconds: float = 75.0
    max_connections: int = 4096
    # Images arrive as data URLs inside the JSON; text alone never comes near this.
    max_body_mb: int = 32

    # Logs.
    log_level: str = "info"
    log_file: Path | None = None
    log_jsonl: bool = False
    access_log: bool = True

    @property
    def model_directories(self) -> tuple[Path, ...]:
        """Where models are looked for; the user's own come first."""
        bundled = Path(str(resources.files("llamabind"))) / "models"
        return (self.models_dir, bundled) if self.bundled_model else (self.models_dir,)

    @property
    def device_budget_bytes(self) -> dict[str, int]:
        """Most that all models together may take of a device, by its name."""
        return {name: mb << 20 for name, mb in self.device_budgets}

    @property
    def worker_command(self) -> tuple[str, ...]:
        """The command that starts a worker process."""
        # A server.py in the current folder must not be taken for us, unless we came from there.
        safe = ("-P",) if sys.flags.safe_path or Path.cwd() != _SOURCE else ()
        return (sys.executable, *safe, "-m", "server.worker")
