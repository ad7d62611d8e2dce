"""SamplingDefaults: requests, settings file, flags and the model's file, in this order."""

from pathlib import Path
from typing import Any

import pytest

from llamabind import SamplingParams
from llamabind.errors import InvalidParameterError
from server.api.schema.sampling import SamplingFields
from server.catalogue.catalogue import Catalogue
from server.catalogue.file_settings import file_settings
from server.catalogue.model_settings import ModelSettings
from server.cli.parser import parse_command_line
from server.protocol.job import Job, TextPrompt
from server.protocol.load_settings import LoadSettings
from server.protocol.sampling_defaults import SamplingDefaults, with_sampling
from tests.support.gguf_files import write_gguf


def _job(**fields: Any) -> Job:
    return Job(prompt=TextPrompt(content="a"), **SamplingFields(**fields).job_fields())


def test_a_request_wins_also_where_it_sets_the_usual_value() -> None:
    defaults = SamplingDefaults(temperature=0.1, top_k=7, n_predict=5, stop=("x",))
    job = with_sampling(_job(temperature=0.8, max_tokens=9), defaults)
    assert (job.sampling.temperature, job.sampling.top_k) == (0.8, 7)
    assert (job.max_tokens, job.stop) == (9, ("x",))
    open_job = with_sampling(_job(), defaults)
    assert (open_job.sampling.temperature, open_job.max_tokens) == (0.1, 5)
    assert with_sampling(open_job, SamplingDefaults(temperature=1.5)) == open_job


def test_without_defaults_a_request_is_unchanged() -> None:
    assert with_sampling(_job(), SamplingDefaults()).sampling == SamplingParams()
    assert with_sampling(_job(top_k=3), None).sampling == SamplingParams(top_k=3)


def test_a_random_seed_of_the_request_replaces_a_fixed_one() -> None:
    job = with_sampling(_job(seed=-1), SamplingDefaults(seed=3))
    assert job.sampling.seed != 3
    assert with_sampling(_job(), SamplingDefaults(seed=3)).sampling.seed == 3


def test_the_settings_file_wins_over_flags_which_win_over_the_models_file(tmp_path: Path) -> None:
    write_gguf(
        tmp_path / "m.gguf",
        general__sampling__temp="0.3",
        general__sampling__top_k="20",
        general__sampling__top_p="0.5",
        general__sampling__sequence="top_k;no_such;temp",
    )
    (tmp_path / "models.toml").write_text('[models."m.gguf".sampling]\ntemperature = 0.9\n')
    flags = parse_command_line(["--temp", "0.6", "--top-k", "30"], {}).default_settings
    known = ModelSettings.read(tmp_path / "models.toml")
    file = Catalogue([tmp_path]).scan()["m.gguf"]
    sampling = known.of("m.gguf", flags, file_settings(file)).sampling
    assert sampling == SamplingDefaults(
        temperature=0.9, top_k=30, top_p=0.5, samplers=("top_k", "temperature")
    )


def test_values_of_a_file_that_are_out_of_range_are_not_used(tmp_path: Path) -> None:
    write_gguf(
        tmp_path / "m.gguf",
        general__sampling__temp="nan",
        general__sampling__top_p="7",
        general__sampling__min_p="0.25",
        general__sampling__mirostat="many",
        general__sampling__penalty_last_n="-3",
    )
    file = Catalogue([tmp_path]).scan()["m.gguf"]
    assert file_settings(file).sampling == SamplingDefaults(min_p=0.25)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"top_p": 2.0}, "sampling.top_p"),
        ({"n_predict": -2}, "sampling.n_predict"),
        ({"samplers": ("infill",)}, "sampling.samplers"),
        ({"seed": -7}, "sampling.seed"),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        SamplingDefaults(**values)
    assert caught.value.field == field


def test_sampling_needs_no_reload() -> None:
    settings = LoadSettings(n_ctx=64, sampling=SamplingDefaults(top_k=3))
    assert settings.engine == LoadSettings(n_ctx=64)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--samplers", "top-k;TEMP"], SamplingDefaults(samplers=("top_k", "temperature"))),
        (["--sampler-seq", "kt"], SamplingDefaults(samplers=("top_k", "temperature"))),
        (["--temp", "-1"], SamplingDefaults(temperature=0.0)),
        (["--dry-sequence-breaker", "none"], SamplingDefaults(dry_sequence_breakers=())),
        (["-r", "User:\\n", "-r", "b"], SamplingDefaults(stop=("User:\n", "b"))),
        (["-n", "-1", "-s", "-1"], SamplingDefaults(n_predict=-1, seed=-1)),
        (
            ["--ignore-eos", "--mirostat-lr", "0.5"],
            SamplingDefaults(ignore_eos=True, mirostat_eta=0.5),
        ),
    ],
)
def test_flags_have_llama_servers_names(arguments: list[str], expected: SamplingDefaults) -> None:
    assert parse_command_line(arguments, {}).default_settings.sampling == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--top-p", "7"], "argument --top-p: "),
        (["--sampler-seq", "z"], "'z' is not the letter"),
        (["--samplers", "nope"], "unknown sampler 'nope'"),
        (["-n", "-5"], "-5 is below -1"),
    ],
)
def test_wrong_flags_end_the_start(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit):
        parse_command_line(arguments, {})
    assert words in capsys.readouterr().err
