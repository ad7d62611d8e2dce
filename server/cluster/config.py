"""ClusterConfig: the file cluster.toml, checked; errors name the field."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from server.hub.reference import BadReferenceError, ModelReference

Router: TypeAlias = Literal["prefix", "session", "pow2"]
_AtLeastOne: TypeAlias = Annotated[int, Meta(ge=1, le=10_000)]
_Seconds: TypeAlias = Annotated[float, Meta(ge=0)]

_MAX_BYTES: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.:/-]{0,127}", re.ASCII)
_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):(\d{1,5})", re.ASCII)
_PATH: Final = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_FIELD: Final = re.compile(r"(?:missing required|contains unknown) field `(?P<name>[^`]*)`")
# Each replica's server gets these from the fields of the file, or must not have them.
_OWN_FLAGS: Final = {
    "--model": "model",
    "-m": "model",
    "-hf": "model",
    "--hf-repo": "model",
    "--alias": "name and aliases",
    "-a": "name and aliases",
    "--threads": "cpus",
    "-t": "cpus",
    "--parallel": "n_parallel",
    "-np": "n_parallel",
    "--ctx-size": "n_ctx",
    "-c": "n_ctx",
    "--max-queue": "max_queue",
    "--rpc": "rpc",
    "--host": "host at the top of the file",
    "--port": "port at the top of the file",
    "--api-key": "api_key_file at the top of the file",
    "--api-key-file": "api_key_file at the top of the file",
    "--drain-seconds": "drain_seconds at the top of the file",
}
_REFUSED_FLAGS: Final = (
    "--admin-key",
    "--admin-key-file",
    "--api-prefix",
    "--models-dir",
    "--models-preset",
    "--ssl-cert-file",
)


class ClusterConfigError(ValueError):
    """The file is wrong; the message names the file and the field."""


class Autoscale(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many replicas run, by the number of requests that run or wait.

    `target_ongoing_requests` per replica is the model's `n_parallel` by default: a replica is added
    when requests would have to queue. Delays are in seconds.
    """

    max: _AtLeastOne
    min: _AtLeastOne = 1
    target_ongoing_requests: Annotated[float, Meta(gt=0)] | None = None
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
    cpus: Annotated[float, Meta(gt=0)] | None = None
    gpus: Annotated[float, Meta(ge=0)] = 0.0
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
    def names(self) -> tuple[str, ...]:
        """All names by which a request may address the model."""
        return (self.name, *self.aliases, Path(self.model).name if self.is_file else self.model)


class ClusterConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. `host` and `port` are used by `llamabind cluster up` only."""

    models: Annotated[tuple[ClusterModel, ...], Meta(min_length=1)]
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65_535)] = 8080
    router: Router = "prefix"
    ingress_replicas: _AtLeastOne = 1
    ingress_cpus: Annotated[float, Meta(ge=0)] = 1.0
    api_key_file: str | None = None
    insecure_no_auth: bool = False
    allowed_hosts: tuple[str, ...] = ()
    max_body_mb: _AtLeastOne = 32
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
    names: dict[str, str] = {}
    for index, model in enumerate(config.models):
        where = f"models[{index}]"
        for fault in _faults(model, where):
            raise ClusterConfigError(f"{source}: {fault}")
        for name in {model.name, *model.aliases}:
            if name in names:
                raise ClusterConfigError(
                    f"{source}: {where}: the name {name!r} is taken by {names[name]}; each name "
                    "must mean one model"
                )
            names[name] = where
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
    return [*faults, *_rpc_faults(model, where), *_flag_faults(model, where)]


def _rpc_faults(model: ClusterModel, where: str) -> list[str]:
    return [
        f"{where}.rpc[{index}]: {address!r} is not an address such as 10.0.0.2:50052"
        for index, address in enumerate(model.rpc)
        if not ((found := _ADDRESS.fullmatch(address)) and 0 < int(found[2]) < 65_536)
    ]


def _flag_faults(model: ClusterModel, where: str) -> list[str]:
    faults = []
    for index, word in enumerate(model.flags):
        flag = word.split("=")[0]
        if field := _OWN_FLAGS.get(flag):
            faults.append(f"{where}.flags[{index}]: {flag} is set by the field {field}")
        elif flag in _REFUSED_FLAGS:
            faults.append(f"{where}.flags[{index}]: {flag} does not work in a cluster")
    return faults


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
    return f"{path or 'the file'}: {text[:1].lower()}{text[1:]}"
