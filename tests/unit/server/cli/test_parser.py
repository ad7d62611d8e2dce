"""The command line and the environment, as a user of llama-server would give them."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from server.cli.docs import DOCUMENT, updated
from server.cli.flag import SETTINGS
from server.cli.load_settings import FLAGS
from server.cli.parser import make_parser, parse_command_line
from server.cli.unsupported_flags import NO_EFFECT_OPTIONS, NO_EFFECT_SWITCHES, NOT_SUPPORTED
from server.config import ServerConfig
from server.hub.cache import default_root
from server.protocol.load_settings import LoadSettings
from server.protocol.sampling_defaults import SamplingDefaults
from tests.support.gguf_files import write_gguf

# Without variables the hub's cache is in the home folder.
_DEFAULTS = ServerConfig(hub_cache=default_root({}))


def parse(*arguments: str, **environment: str) -> ServerConfig:
    return parse_command_line(arguments, environment)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str, **environment: str) -> str:
    with pytest.raises(SystemExit) as caught:
        parse(*arguments, **environment)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_no_flags_are_the_defaults() -> None:
    config = parse()
    assert config == _DEFAULTS
    assert (config.hosts, config.port, config.models_dir) == (("127.0.0.1",), 8080, Path("models"))
    assert config.model_directories[1].name == "models"


def test_every_flag_sets_a_field_that_exists_and_has_a_variable_of_its_own() -> None:
    fields = {field.name for field in dataclasses.fields(ServerConfig)}
    settings = {f"{SETTINGS}{name}" for name in LoadSettings.__struct_fields__}
    settings |= {f"{SETTINGS}sampling.{name}" for name in SamplingDefaults.__struct_fields__}
    assert {flag.target for flag in FLAGS} <= fields | settings
    variables = [flag.variable for flag in FLAGS]
    assert len(set(variables)) == len(variables)
    assert fields - {flag.target for flag in FLAGS} == {
        "default_settings",
        "companions",
        "preset_models",
    }


def test_no_name_is_both_ours_and_foreign() -> None:
    ours = {name for flag in FLAGS for name in (*flag.names, *flag.negative_names)}
    foreign = [*NO_EFFECT_SWITCHES, *NO_EFFECT_OPTIONS, *NOT_SUPPORTED]
    assert len(set(foreign)) == len(foreign)
    assert ours.isdisjoint(foreign)


def test_the_document_has_the_flags_as_they_are() -> None:
    text = DOCUMENT.read_text()
    assert text == updated(text), "run python -m server.cli.docs"


def test_help_names_every_flag_and_variable() -> None:
    text = make_parser().format_help()
    for flag in FLAGS:
        assert flag.name in text
        assert flag.variable in text
    assert "--jinja" not in text


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("--host ::1,127.0.0.1", "hosts", ("::1", "127.0.0.1")),
        ("--port 0", "port", 0),
        ("--no-bundled-model", "bundled_model", False),
        ("-a one,two", "aliases", ("one", "two")),
        ("--models-max 3", "models_max", 3),
        ("--no-models-autoload", "models_autoload", False),
        ("--api-key a,b --api-key c", "api_keys", ("a", "b", "c")),
        ("--api-prefix /llm/", "api_prefix", "/llm"),
        ("-lv 5", "log_level", "debug"),
        ("--sse-ping-interval -1", "ping_seconds", math.inf),
        ("-to 5", "client_seconds", 5.0),
        ("--log-jsonl", "log_jsonl", True),
        ("--no-metrics", "metrics", False),
        ("--tags a,b", "tags", ("a", "b")),
        ("--keep 5", "n_keep", 5),
        ("--embd-normalize 1", "embd_normalize", 1),
        ("--reuse-port", "reuse_port", True),
        ("--log-disable", "log_level", "error"),
        ("-C 5 -Cr 4-5", "cpus", (0, 2, 4, 5)),
    ],
)
def test_a_flag_arrives(line: str, field: str, value: Any) -> None:
    assert getattr(parse(*line.split()), field) == value


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("-c 4096 -np 8 -t 2 -tb 3", {"n_ctx": 4096, "n_parallel": 8, "threads": 2}),
        ("-b 512 -ub 128", {"n_batch": 512, "n_ubatch": 128}),
        ("-ngl all", {"n_gpu_layers": -1}),
        ("-ngl auto", {"n_gpu_layers": None}),
        ("--n-gpu-layers 20", {"n_gpu_layers": 20}),
        ("-fa", {"flash_attn": "on"}),
        ("-fa off -c 64", {"flash_attn": "off", "n_ctx": 64}),
        ("-ctk q8_0 -ctv q4_0", {"cache_type_k": "q8_0", "cache_type_v": "q4_0"}),
        ("--no-kv-unified", {"kv_unified": False}),
        ("-no-kvu", {"kv_unified": False}),
        ("--mlock", {"use_mlock": True}),
        ("-cram 512", {"cache_ram": 512}),
        ("-sm layer -ts 3,1 -mg 1", {"tensor_split": (3.0, 1.0), "main_gpu": 1}),
        ("--chat-template chatml", {"chat_template": "chatml"}),
        ("-lm mmap+mlock", {"load_mode": "mmap+mlock", "locks": True}),
        ("--embeddings --pooling mean", {"embedding": True, "pooling": "mean"}),
        ("--rope-scaling yarn --rope-scale 4", {"rope_scaling": "yarn", "rope_freq_scale": 0.25}),
        ("--rope-freq-base 1e6 --rope-freq-scale 0.5", {"rope_freq_base": 1e6}),
        ("--yarn-orig-ctx 4096 --yarn-beta-fast 32", {"yarn_orig_ctx": 4096}),
        ("--yarn-ext-factor 1 --yarn-attn-factor 1", {"yarn_attn_factor": 1.0}),
        ("--yarn-beta-slow 1", {"yarn_beta_slow": 1.0}),
        ("--spec-draft-n-max 8 -ngld all --swa-full", {"draft_max": 8, "draft_gpu_layers": -1}),
        ("-cmoe", {"cpu_moe": True}),
        ("-ncmoe 3 -ncffn 2", {"n_cpu_moe": 3, "n_cpu_ffn": 2}),
        (
            "-ot exps=CPU,a.*=CUDA0 -ot b=CPU",
            {"override_tensor": ("exps=CPU", "a.*=CUDA0", "b=CPU")},
        ),
        ("-dev none -nkvo --no-op-offload", {"devices": ("none",), "kv_offload": False}),
        ("-nr --no-host --check-tensors", {"repack": False, "no_host": True}),
        ("--override-kv a.b=int:3,c=bool:false", {"override_kv": {"a.b": 3, "c": False}}),
        ("--image-max-tokens 64 --no-mmproj-offload", {"image_max_tokens": 64}),
        ("--context-shift", {"context_shift": True}),
        ("--deterministic", {"deterministic": True}),
        ("--reranking", {"pooling": "rank", "embedding": True}),
        ("--chat-template llama3", {"chat_template": "llama3"}),
        ("--spec-default", {"speculative": "ngram"}),
        (
            "--spec-type ngram-mod --spec-ngram-mod-n-max 9",
            {"speculative": "ngram", "draft_max": 9},
        ),
    ],
)
def test_a_flag_of_llama_server_is_the_default_of_every_load(
    line: str, settings: dict[str, Any]
) -> None:
    default = parse(*line.split()).default_settings
    assert {name: getattr(default, name) for name in settings} == settings


def test_flags_without_effect_on_embeddings_are_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    default = parse("--embedding", "-b", "2048", "-ub", "2048", "-tb", "4").default_settings
    assert (default.embedding, default.n_ubatch, default.n_batch) == (True, 2048, None)
    printed = capsys.readouterr().err
    assert "-b/--batch-size has no effect" in printed
    assert "-tb/--threads-batch has no effect" in printed
    assert "-ub" not in printed


@pytest.mark.parametrize(
    ("variable", "texts", "name", "value"),
    [
        ("LLAMA_ARG_FLASH_ATTN", ("1", "on", "true", "ON", "enabled"), "flash_attn", "on"),
        ("LLAMA_ARG_FLASH_ATTN", ("0", "off", "false", "disabled"), "flash_attn", "off"),
        ("LLAMA_ARG_FLASH_ATTN", ("auto", "-1"), "flash_attn", "auto"),
        ("LLAMA_ARG_KV_UNIFIED", ("1", "on", "true"), "kv_unified", True),
        ("LLAMA_ARG_KV_UNIFIED", ("0", "off", "false"), "kv_unified", False),
        ("LLAMA_ARG_NO_KV_UNIFIED", ("1", "0"), "kv_unified", False),
        ("LLAMA_ARG_NO_MMAP", ("1", "true"), "load_mode", "none"),
        ("LLAMA_ARG_NO_MMAP", ("0", "false"), "load_mode", None),
        ("LLAMA_ARG_MLOCK", ("1", "on"), "use_mlock", True),
    ],
)
def test_switches_are_set_in_every_word_of_llama_server(
    variable: str, texts: tuple[str, ...], name: str, value: Any
) -> None:
    for text in texts:
        assert getattr(parse(**{variable: text}).default_settings, name) == value, text


@pytest.mark.parametrize(
    ("text", "value"), [("-1", None), ("auto", None), ("1", True), ("0", False)]
)
def test_reasoning_is_set_in_every_word_of_llama_server(text: str, value: bool | None) -> None:
    assert parse(LLAMA_ARG_REASONING=text).enable_thinking is value


def test_the_command_line_wins_over_the_environment() -> None:
    environment = {"LLAMA_ARG_CTX_SIZE": "128", "LLAMA_ARG_PORT": "81", "LLAMA_API_KEY": "env"}
    config = parse("-c", "256", "--api-key", "line", **environment)
    assert config.default_settings.n_ctx == 256
    assert config.port == 81
    assert config.api_keys == ("line",)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, True) for word in ("true", "1", "ON", "enabled")),
        *((word, False) for word in ("false", "0", "off", "disabled")),
    ],
)
def test_switches_take_llama_servers_words(text: str, value: bool) -> None:
    assert parse(LLAMA_ARG_KV_UNIFIED=text).default_settings.kv_unified is value


def test_a_no_variable_switches_the_flag_off() -> None:
    assert parse(LLAMA_ARG_NO_KV_UNIFIED="1").default_settings.kv_unified is False


def test_an_empty_variable_does_not_count() -> None:
    assert parse(LLAMA_ARG_PORT="", LLAMA_API_KEY="") == _DEFAULTS


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--port 70000", ("--port", "65535")),
        ("--port x", ("--port", "'x'")),
        ("--drain-seconds 0", ("--drain-seconds",)),
        ("--drain-seconds nan", ("--drain-seconds",)),
        ("--max-body-mb 0", ("--max-body-mb",)),
        ("-t 5000", ("--threads", "1024")),
        ("-ctk q9", ("--cache-type-k", "q9")),
        ("-c -1", ("--ctx-size",)),
        ("--api-prefix llm", ("--api-prefix", "/llm")),
        ("--api-key ,", ("--api-key", "no key")),
        ("--api-key-file nowhere", ("--api-key-file", "nowhere")),
        ("--chat-template-fil x", ("--chat-template-fil",)),
        ("--ctx-sise 1", ("--ctx-sise", "--ctx-size")),
        ("stray", ("'stray'",)),
        ("--hf-repo a", ("--hf-repo", "'a'", "org/repo:QUANT")),
        ("--hf-repo a/b@../c", ("'../c'", "a branch, a tag or a commit")),
        ("--hf-file m.gguf", ("--hf-file", "needs --hf-repo")),
        ("--hf-repo a/b --hf-file ../m.gguf", ("--hf-file", "'../m.gguf'")),
        ("--model-url x", ("--model-url", "--hf-repo")),
        ("--tools all", ("--tools", "not supported")),
        ("--grammar x", ("--grammar", "the request's own field")),
        ("--ssl-key-file k.pem", ("--ssl-cert-file",)),
        ("--admin-key a", ("--admin-key",)),
        ("--admin-key a --api-key a", ("the same key", "use different keys")),
        ("--host 0.0.0.0", ("0.0.0.0", "--api-key-file", "--insecure-no-auth")),
        ("--host 127.0.0.1,::", ("::", "--insecure-no-auth")),
        ("--host ,", ("--host",)),
        ("-md nowhere.gguf", ("-md/--model-draft", "nowhere.gguf")),
        ("--lora a.gguf,nowhere.gguf", ("--lora", "a.gguf")),
        ("--lora-scaled a.gguf", ("--lora-scaled", "adapter.gguf:0.5")),
        ("--rope-scale 0", ("--rope-scale", "above 0")),
        ("--pooling mean", ("--pooling", "embedding")),
        ("-ot exps", ("--override-tensor", "ffn_.*_exps=CPU")),
        ("-ot (=CPU", ("--override-tensor", "regular expression")),
        ("--override-kv a=long:1", ("--override-kv", "key=int:1")),
        ("-C xyz", ("--cpu-mask", "hexadecimal")),
        ("-Cr 5-1", ("--cpu-range", "selects no CPU")),
        ("--chat-template nothing/like{it", ("--chat-template", "chatml")),
        ("--media-path nowhere", ("--media-path", "nowhere")),
        ("--spec-type draft,ngram-mod", ("--spec-type", "choose")),
    ],
)
def test_a_wrong_line_ends_with_a_message_that_names_the_mistake(
    capsys: pytest.CaptureFixture[str], line: str, words: tuple[str, ...]
) -> None:
    message = refusal(capsys, *line.split())
    assert all(word in message for word in words), message
    assert message.count("\n") == 1


def test_a_wrong_variable_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "LLAMA_ARG_PORT" in refusal(capsys, LLAMA_ARG_PORT="many")
    assert "LLAMA_ARG_KV_UNIFIED" in refusal(capsys, LLAMA_ARG_KV_UNIFIED="perhaps")


@pytest.mark.parametrize("line", ["--jinja", "-cb", "--threads-http 4", "--no-perf", "-sps 0.5"])
def test_flags_without_effect_are_accepted_with_a_note(
    capsys: pytest.CaptureFixture[str], line: str
) -> None:
    assert parse(*line.split()) == _DEFAULTS
    assert f"{line.split()[0]} has no effect" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    ["--host 0.0.0.0 --api-key k", "--host 0.0.0.0 --insecure-no-auth", "--host ::1,/tmp/x.sock"],
)
def test_other_addresses_are_accepted_with_a_key_or_on_request(line: str) -> None:
    assert parse(*line.split()).hosts


def test_keys_come_from_a_file_with_comments(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\n\none\n  two  \n#three\none\n")
    config = parse("--api-key-file", str(file), "--api-key", "four")
    assert config.api_keys == ("one", "two", "four")
    assert "two" not in repr(config)


def test_a_key_file_without_a_key_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text("# nothing\n")
    assert "contains no key" in refusal(capsys, "--api-key-file", str(file))


def test_the_file_of_a_server_of_one_model_must_be_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "typo.gguf does not exist" in refusal(capsys, "-m", str(tmp_path / "typo.gguf"))
    assert "is a folder; give it as --models-dir" in refusal(capsys, "-m", str(tmp_path))
    for number in (1, 2):
        write_gguf(tmp_path / f"big-0000{number}-of-00002.gguf")
    message = refusal(capsys, "-m", str(tmp_path / "big-00002-of-00002.gguf"))
    assert "give its first file, big-00001-of-00002.gguf" in message
    first = tmp_path / "big-00001-of-00002.gguf"
    assert parse("-m", str(first)).model_file == first


def test_a_models_own_settings_are_checked_with_all_that_lies_below(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "models.toml"
    file.write_text('[models."m.gguf"]\npooling = "mean"\n')
    printed = refusal(capsys, "--config", str(file))
    assert '[models."m.gguf"] pooling: requires embedding: true' in printed
    config = parse("--config", str(file), "--embedding")
    assert config.model_settings is not None


def test_underscores_in_the_name_of_a_long_flag_are_hyphens_as_in_llama_server() -> None:
    assert parse("--ctx_size", "512") == parse("--ctx-size", "512")
    assert parse("--ctx_size=512", "--no_slots") == parse("--ctx-size=512", "--no-slots")
    config = parse("--models_dir", "my_models", "--alias", "my_model")
    assert config.models_dir == Path("my_models")
