"""ServerConfig: all settings of the server; server.cli.parser makes it from flags."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llamabind
from server.catalogue.model_settings import ModelSettings
from server.catalogue.preset_model import PresetModel
from server.child_command import child_command
from server.hub.reference import ModelReference
from server.protocol.load_settings import LoadSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """The server's settings. Times are in seconds; docs/running.md explains each by its flag."""

    # Where the server listens: addresses, names, or paths of Unix sockets.
    hosts: tuple[str, ...] = ("127.0.0.1",)
    port: int = 8080
    reuse_port: bool = False
    api_prefix: str = ""
    ssl_cert_file: Path | None = None
    ssl_key_file: Path | None = None

    # Access. Keys must never appear in a log, so repr() leaves them out.
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    admin_keys: tuple[str, ...] = field(default=(), repr=False)
    insecure_no_auth: bool = False
    allowed_hosts: tuple[str, ...] = ()
    # Whether a proxy names the client of each request in X-Client.
    proxied_clients: bool = False
    # Hosts from which images and audio are fetched; "*" allows every public host.
    media_hosts: tuple[str, ...] = ()
    # Folder of media that file:// URLs name; None refuses such URLs.
    media_path: Path | None = None
    cors_origins: tuple[str, ...] = ("localhost",)
    cors_methods: str = "GET, POST, DELETE, OPTIONS"
    cors_headers: str = "*"
    cors_credentials: bool = False

    # Models and their settings.
    models_dir: Path = Path("models")
    bundled_model: bool = True
    model_file: Path | None = None
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    # The INI file of --models-preset, and the models that it describes.
    presets: Path | None = None
    preset_models: Mapping[str, PresetModel] = field(default_factory=dict)
    # The hub's cache, whose models are listed too; None lists none. The token must never appear in
    # a log, so repr() leaves it out.
    hub_cache: Path | None = None
    hub_token: str | None = field(default=None, repr=False)
    # A model of the hub to serve alone, which is downloaded at the start, and its file.
    hub_repo: ModelReference | None = None
    hub_file: str | None = None
    offline: bool = False
    # Whether to follow symbolic links that point outside the models directory.
    follow_links: bool = False
    # Whether to load the projector that lies beside a model.
    mmproj_auto: bool = True
    models_max: int = 0
    # Maximum memory of all models together; 0 is all that is free. Devices by name, such as CUDA0.
    memory_budget_mb: int = 0
    device_budgets: tuple[tuple[str, int], ...] = ()
    model_settings: ModelSettings | None = None
    models_autoload: bool = True
    ttl_seconds: float = math.inf
    load_timeout: float = 600.0
    # RPC servers whose devices models may use, as HOST:PORT. Only here: no request can name one.
    rpc: tuple[str, ...] = ()
    # Defaults of every load.
    default_settings: LoadSettings = field(default_factory=LoadSettings)
    # Paths of files named in default_settings that may lie outside the models directory; the
    # settings contain only the last part of each path.
    companions: tuple[Path, ...] = ()
    # Whether adapters of --lora start with scale 0; already part of default_settings.
    lora_init_without_apply: bool = False
    # Norm of embeddings, as llama-server's --embd-normalize.
    embd_normalize: int = 2
    # Tokens that a context shift never drops; -1 is the prompt.
    n_keep: int = 0
    # CPUs that the server and its workers run on; all of them if empty.
    cpus: tuple[int, ...] = ()
    # Defaults of every chat; None keeps the template's own.
    reasoning_format: str | None = None
    enable_thinking: bool | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    # Maximum number of reasoning tokens; -1 is no limit.
    reasoning_budget: int = -1
    reasoning_budget_message: str = ""
    # Whether to serve the web page.
    ui: bool = True
    metrics: bool = True
    # Whether /metrics also has the names that inference gateways read.
    gateway_metrics: bool = False
    slots: bool = True
    props: bool = False
    # Folder for saved slots; None disables saving.
    slot_save_path: Path | None = None
    # Directory for the prefixes that outlive a worker, and the most MiB of its files.
    cache_dir: Path | None = None
    cache_disk_mib: int = 16_384

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
    # Sized for images, which arrive as data URLs inside the JSON; text alone stays far below.
    max_body_mb: int = 32

    # Logs.
    log_level: str = "info"
    log_file: Path | None = None
    log_jsonl: bool = False
    access_log: bool = True

    @property
    def model_directories(self) -> tuple[Path, ...]:
        """The directories to search for models; the user's own before the bundled one."""
        bundled = Path(llamabind.__file__).parent / "models"
        return (self.models_dir, bundled) if self.bundled_model else (self.models_dir,)

    @property
    def companion_names(self) -> dict[str, Path]:
        """The files that presets name by path, by the names in their settings."""
        presets = self.preset_models.values()
        return {name: path for preset in presets for name, path in preset.companions.items()}

    @property
    def device_budget_bytes(self) -> dict[str, int]:
        """Maximum memory of all models together on each device, by its name."""
        return {name: mb << 20 for name, mb in self.device_budgets}

    @property
    def worker_command(self) -> tuple[str, ...]:
        """The command that starts a worker process."""
        return child_command("server.worker")

    @property
    def hub_command(self) -> tuple[str, ...]:
        """The command that starts a process that talks to the hub."""
        return child_command("server.hub")
