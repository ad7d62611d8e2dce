"""cluster.toml: what is read, and the sentence of each mistake."""

from pathlib import Path

import pytest

from server.cluster.config import ClusterConfigError, read_cluster_file

_MODEL = '[[models]]\nname = "chat"\nmodel = "chat.gguf"\ncpus = 2\n'


def _read(folder: Path, text: str):
    file = folder / "cluster.toml"
    file.write_text(text)
    return read_cluster_file(file)


def test_a_short_file_gets_the_defaults(tmp_path: Path) -> None:
    config = _read(tmp_path, _MODEL)
    [model] = config.models
    assert (config.host, config.port, config.router) == ("127.0.0.1", 8080, "prefix")
    assert (model.max_replicas, model.n_parallel, model.reserved_cpus) == (1, 4, 2)
    assert model.model == str(tmp_path / "chat.gguf")
    assert (model.name, model.source_name, model.deployment) == ("chat", "chat.gguf", "model-chat")


def test_a_model_of_a_hub_with_gpus_autoscaling_and_rpc(tmp_path: Path) -> None:
    config = _read(
        tmp_path,
        'router = "pow2"\n[[models]]\nname = "big"\nmodel = "org/repo:Q4_K_M"\ngpus = 1\n'
        'router = "session"\nrpc = ["10.0.0.2:50052"]\nautoscale = { min = 1, max = 3 }\n',
    )
    [model] = config.models
    assert config.router_of(model) == "session"
    assert (model.model, model.max_replicas, model.reserved_cpus) == ("org/repo:Q4_K_M", 3, 1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "models is missing"),
        ("models = []", "models: expected `array` of length >= 1"),
        (_MODEL + "replica = 2", "models[0].replica is not a field of this file"),
        (_MODEL + 'replicas = "two"', "models[0].replicas: expected `int | null`, got `str`"),
        (_MODEL + "replicas = 0", "models[0].replicas: expected `int` >= 1"),
        (
            _MODEL + 'router = "random"',
            "models[0].router: invalid enum value 'random', expected prefix, session",
        ),
        (_MODEL + "autoscale = { min = 4, max = 3 }", "min is 4, more than max, which is 3"),
        (_MODEL + "replicas = 2\nautoscale = { max = 3 }", "replicas and autoscale both set"),
        (_MODEL + 'rpc = ["10.0.0.2"]', "models[0].rpc: '10.0.0.2' is not of the form HOST:PORT"),
        (_MODEL + 'rpc = ["a:70000"]', "models[0].rpc: 'a:70000' has port 70000"),
        (_MODEL + 'rpc = ["[::1]:50052"]', "IPv6 addresses are not supported"),
        (_MODEL + 'rpc = ["a:5", "a:5"]', "models[0].rpc: a:5 is given twice"),
        (_MODEL + 'flags = ["--port", "1"]', "models[0].flags[0]: --port is set by the field port"),
        (_MODEL + 'flags = ["--threads=2"]', "--threads is set by the field cpus"),
        (_MODEL + 'flags = ["--models-dir", "x"]', "--models-dir does not work in a cluster"),
        (_MODEL + 'flags = ["--ctx_size=8"]', "--ctx-size is set by the field n_ctx"),
        (_MODEL + 'flags = ["--mlock", "--no-such"]', "flags[1]: --no-such is not a flag of"),
        (_MODEL + 'flags = ["--help"]', "flags[0]: --help does not work in a cluster"),
        (_MODEL + 'flags = ["a\\u0000b"]', "flags[0]: has a zero byte"),
        (
            _MODEL + 'env = { LLAMA_ARG_RPC = "a:5" }',
            "env.LLAMA_ARG_RPC: it is set by the field rpc",
        ),
        (_MODEL + 'env = { "A=B" = "c" }', "models[0].env.A=B: is not the name of a variable"),
        (_MODEL + 'env = { A = "a\\u0000b" }', "models[0].env.A: has a zero byte"),
        (_MODEL + "env = { A = 1 }", "models[0].env[...]: expected `str`, got `int`"),
        (_MODEL.replace("2", "inf"), "models[0].cpus: expected `float` <= 100000"),
        ("drain_seconds = inf\n" + _MODEL, "drain_seconds: expected `float` <= 604800"),
        ('host = "a b"\n' + _MODEL, "host: 'a b' is not an address or a name"),
        ('host = "/tmp/s.sock"\n' + _MODEL, "host: '/tmp/s.sock' is not an address or a name"),
        (_MODEL.replace("chat", "a/b") + _MODEL.replace("chat", "a--b"), "'a--b' and 'a/b' are"),
        (_MODEL + _MODEL, "models[1]: the name 'chat' is taken by models[0]"),
        ('[[models]]\nname = "a"\nmodel = "a.gguf"\n', "models[0].cpus is missing"),
        ('[[models]]\nname = "a"\ncpus = 1\n', "models[0].model is missing"),
        ('[[models]]\nname = "a"\ncpus = 1\nmodel = "a"\n', "models[0].model: is neither the path"),
        ('[[models]]\nname = "a b"\ncpus = 1\nmodel = "a.gguf"\n', "'a b' is not a name"),
        ('api_key_file = "keys"\n' + _MODEL, "api_key_file:"),
        ("port = 99999\n" + _MODEL, "port: expected `int` <= 65535"),
        ("port = ", "is not valid TOML"),
    ],
)
def test_a_mistake_is_a_sentence_that_names_the_field(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(ClusterConfigError) as raised:
        _read(tmp_path, text)
    assert sentence in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "cluster.toml"))


def test_a_single_replica_has_the_cheapest_router(tmp_path: Path) -> None:
    one, two = _read(tmp_path, _MODEL), _read(tmp_path, _MODEL + "replicas = 2")
    assert (one.router_of(one.models[0]), two.router_of(two.models[0])) == ("pow2", "prefix")


def test_flags_of_the_server_and_of_llama_server_are_passed_on(tmp_path: Path) -> None:
    flags = ["--embedding", "--seed", "-1", "--no-ui", "--cont-batching", "-fa", "on"]
    [model] = _read(tmp_path, f"{_MODEL}flags = {flags}").models
    assert model.flags == tuple(flags)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ClusterConfigError, match="cannot be read: No such file"):
        read_cluster_file(tmp_path / "none.toml")
