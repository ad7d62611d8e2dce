"""ClusterConfig: the file cluster.toml, checked; errors name the field."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta, Struct

from llamabind.system.rpc_address import check_rpc_addresses
from server.cluster.flags import flag_fault, variable_fault
from server.hub.reference import BadReferenceError, ModelReference

Router: TypeAlias = Literal["prefix", "session", "pow2"]
_AtLeastOne: TypeAlias = Annotated[int, Meta(ge=1, le=10_000)]
_Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=604_800)]  # at most a week
_MAX_CORES: Final = 100_000

_MAX_BYTES: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.:/-]{0,127}", re.ASCII)
_HOST: Final = re.compile(r"[\w.:-]+", re.ASCII)
_PATH: Final = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_FIELD: Final = re.compile(r"(?:missing required|contains unknown) field `(?P<name>[^`]*)`")


class ClusterConfigError(ValueError):
    """The file is wrong; the message names the file and the field."""


class Autoscale(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many replicas run, by the number of requests that run or wait.

    `target_ongoing_requests` per replica is the model's `n_parallel` by default: a replica is added
    when requests would have to queue. Delays are in seconds.
    """

    max: _AtLeastOne
    min: _AtLeastOne = 1
    target_ongoing_requests: Annotated[float, Meta(gt=0, le=_MAX_CORES)] | None = None
    upscale_delay: _Seconds = 30.0
    downscale_delay: _Seconds = 600.0


class ClusterModel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model and its replicas: one deployment.

    `model` is the path of a GGUF file, or `org/repo:QUANT` of a hub. Each replica reserves `cpus`
    cores, which are also its threads, and `gpus` GPUs. `flags` are further flags of its server.
    """

    name: str
    model: str
    aliases: tuple[str, ...] = ()
    cpus: Annotated[float, Meta(gt=0, le=_MAX_CORES)] | None = None
    gpus: Annotated[float, Meta(ge=0, le=_MAX_CORES)] = 0.0
    replicas: _AtLeastOne | None = None
    autoscale: Autoscale | None = None
    n_parallel: _AtLeastOne = 4
    n_ctx: Annotated[int, Meta(ge=0)] | None = None
    max_queue: Annotated[int, Meta(ge=0)] = 256
    router: Router | None = None
    rpc: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    env: dict[str, str] = {}

    @property
    def reserved_cpus(self) -> float:
        """Cores of a replica: a replica that computes on GPUs needs one."""
        return 1.0 if self.cpus is None else self.cpus

    @property
    def max_replicas(self) -> int:
        """The largest number of replicas."""
        return self.autoscale.max if self.autoscale else self.replicas or 1

    @property
    def is_file(self) -> bool:
        """Whether `model` is a path rather than a name of a hub."""
        return self.model.lower().endswith(".gguf")

    @property
    def deployment(self) -> str:
        """The name of its deployment; Ray's names have no slashes."""
        return f"model-{self.name}".replace("/", "--").replace(":", "-")

    @property
    def source_name(self) -> str:
        """The name of its file or of the hub, by which a request may address the model, too."""
        return Path(self.model).name if self.is_file else self.model


class ClusterConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. `host` and `port` are used by `llamabind cluster up` only."""

    models: Annotated[tuple[ClusterModel, ...], Meta(min_length=1)]
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65_535)] = 8080
    router: Router = "prefix"
    ingress_replicas: _AtLeastOne = 1
    ingress_cpus: Annotated[float, Meta(ge=0, le=_MAX_CORES)] = 1.0
    api_key_file: str | None = None
    insecure_no_auth: bool = False
    allowed_hosts: tuple[str, ...] = ()
    max_body_mb: Annotated[int, Meta(ge=1, le=4096)] = 32
    drain_seconds: _Seconds = 120.0
    gateway_metrics: bool = False

    def router_of(self, model: ClusterModel) -> Router:
        """The router of a model's replicas; the cheapest where there is nothing to choose."""
        if model.max_replicas == 1:
            return "pow2"
        return model.router or self.router


def read_cluster_file(path: Path) -> ClusterConfig:
    """The checked file; relative paths in it are relative to its folder. Raises
    ClusterConfigError.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ClusterConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > _MAX_BYTES:
        raise ClusterConfigError(f"{path}: has {len(raw)} bytes, the limit is {_MAX_BYTES}")
    try:
        document = tomllib.loads(raw.decode())
    except UnicodeDecodeError:
        raise ClusterConfigError(f"{path}: is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ClusterConfigError(f"{path}: is not valid TOML: {error}") from None
    return check_cluster(document, str(path), path.absolute().parent)


def check_cluster(document: Any, source: str, folder: Path) -> ClusterConfig:
    """A ClusterConfig from the document of a file; `source` names the file in errors."""
    try:
        config = msgspec.convert(document, ClusterConfig)
    except msgspec.ValidationError as error:
        raise ClusterConfigError(f"{source}: {_sentence(str(error))}") from None
    if not _HOST.fullmatch(config.host):
        raise ClusterConfigError(f"{source}: host: {config.host!r} is not an address or a name")
    for index, model in enumerate(config.models):
        for fault in _faults(model, f"models[{index}]"):
            raise ClusterConfigError(f"{source}: {fault}")
    if fault := _shared_name(config.models):
        raise ClusterConfigError(f"{source}: {fault}")
    return _with_folder(config, source, folder)


def _faults(model: ClusterModel, where: str) -> list[str]:
    """What is wrong with a model, apart from the types of its fields."""
    faults = [
        f"{where}.{field}: {name!r} is not a name; use letters, digits and . _ : / -"
        for field, given in (("name", (model.name,)), ("aliases", model.aliases))
        for name in given
        if not _NAME.fullmatch(name)
    ]
    if not model.is_file:
        try:
            ModelReference.parse(model.model)
        except BadReferenceError as error:
            faults.append(
                f"{where}.model: is neither the path of a .gguf file nor a model: {error}"
            )
    if model.cpus is None and model.gpus == 0:
        faults.append(
            f"{where}.cpus is missing: give the CPU cores of each replica (they are also its "
            "threads), or gpus"
        )
    if model.replicas is not None and model.autoscale is not None:
        faults.append(f"{where}: replicas and autoscale both set the number of replicas; give one")
    if model.autoscale is not None and model.autoscale.min > model.autoscale.max:
        scale = model.autoscale
        faults.append(f"{where}.autoscale: min is {scale.min}, more than max, which is {scale.max}")
    return [*faults, *_server_faults(model, where)]


def _server_faults(model: ClusterModel, where: str) -> list[str]:
    """What is wrong with what the replicas' servers get."""
    faults = []
    try:
        check_rpc_addresses(model.rpc)
    except ValueError as error:
        faults.append(f"{where}.rpc: {error}")
    if wrong_flag := flag_fault(model.flags):
        faults.append(f"{where}.flags[{wrong_flag[0]}]: {wrong_flag[1]}")
    if wrong_variable := variable_fault(model.env):
        faults.append(f"{where}.env.{wrong_variable[0]}: {wrong_variable[1]}")
    return faults


def _shared_name(models: tuple[ClusterModel, ...]) -> str:
    """Which two models have a name in common; "" if none have."""
    names: dict[str, str] = {}
    deployments: dict[str, str] = {}
    for index, model in enumerate(models):
        where = f"models[{index}]"
        for name in {model.name, *model.aliases}:
            if name in names:
                return (
                    f"{where}: the name {name!r} is taken by {names[name]}; each name must mean "
                    "one model"
                )
            names[name] = where
        if model.deployment in deployments:
            return (
                f"{where}.name: {model.name!r} and {deployments[model.deployment]!r} are the same "
                "without / and :; change one of them"
            )
        deployments[model.deployment] = model.name
    return ""


def _with_folder(config: ClusterConfig, source: str, folder: Path) -> ClusterConfig:
    """The config with absolute paths. The file of keys must exist here, models elsewhere."""
    keys = config.api_key_file
    if keys is not None:
        keys = str(folder / keys)
        if not Path(keys).is_file():
            raise ClusterConfigError(f"{source}: api_key_file: {keys} does not exist")
    models = tuple(
        msgspec.structs.replace(model, model=str(folder / model.model)) if model.is_file else model
        for model in config.models
    )
    return msgspec.structs.replace(config, models=models, api_key_file=keys)


def _sentence(message: str) -> str:
    """msgspec's message with the field in front."""
    found = _PATH.search(message)
    text = message[: found.start()] if found else message
    path = found["path"] if found else ""
    if named := _FIELD.search(text):
        whole = f"{path}.{named['name']}" if path else named["name"]
        if "missing" in text:
            return f"{whole} is missing"
        return f"{whole} is not a field of this file; docs/scaling.md lists all"
    if text.startswith("Invalid enum value"):
        text += f", expected {', '.join(get_args(Router))}"
    return f"{path or 'the file'}: {text[:1].lower()}{text[1:]}"
