"""llama-server's flags: those that mean the same, those that do no harm, those that are refused."""

from pathlib import Path

import pytest

from server.cli.parser import parse_command_line


def _refusal(capsys: pytest.CaptureFixture[str], line: str) -> str:
    with pytest.raises(SystemExit) as caught:
        parse_command_line(line.split(), {})
    assert caught.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("-fit off", "--n-gpu-layers"),
        ("--control-vector-layer-range 1 2", "LoRA adapter"),
        ("--rpc host", "HOST:PORT"),
        ("--rpc [::1]:50052", "IPv6"),
        ("--rpc host:70000", "expected 1 to 65535"),
        ("--rpc a:1,b:2,a:1", "a:1 is given twice"),
        ("--tools all", "send them in requests"),
        ("--draft-max 4", "--spec-draft-n-max"),
        ("--spec-type draft-dflash", "not one of auto, off, ngram, draft, mtp"),
        ("--gpt-oss-20b-default", "--hf-repo"),
        ("--no-mmap --mlock", "argument --mlock: true contradicts load_mode none"),
        ("-lm magic", "load-mode"),
        ("--chat-template-kwargs [1]", "not a JSON object"),
        ("--reasoning-format magic", "not one of auto"),
    ],
)
def test_what_means_something_else_is_refused_with_the_reason(
    capsys: pytest.CaptureFixture[str], line: str, reason: str
) -> None:
    assert reason in _refusal(capsys, line)


@pytest.mark.parametrize(
    "line",
    [
        "-fit on",
        "-fit",
        "-ctxcp 8",
        "-td 4 -tbd 4",
        "--no-jinja",
        "--prio 2",
        "-e",
        "--ui-mcp-proxy",
    ],
)
def test_flags_for_fixed_behaviour_are_a_warning(
    capsys: pytest.CaptureFixture[str], line: str
) -> None:
    assert parse_command_line(line.split(), {}) == parse_command_line([], {})
    assert "has no effect: " in capsys.readouterr().err


def test_words_of_llama_server_that_mean_the_same_are_taken() -> None:
    line = (
        "-v --no-mmap --spec-type ngram-simple --spec-ngram-simple-size-n 6 -rea off "
        "--reasoning-format none --reasoning-effort high"
    )
    kwargs = '{"builtin_tools": []}'
    config = parse_command_line([*line.split(), "--chat-template-kwargs", kwargs], {})
    assert config.log_level == "debug"
    settings = config.default_settings
    assert (settings.load_mode, settings.speculative, settings.ngram_size) == ("none", "ngram", 6)
    assert (config.enable_thinking, config.reasoning_effort) == (False, "high")
    assert config.reasoning_format == "none"
    assert config.chat_template_kwargs == {"builtin_tools": []}
    environment = {
        "LLAMA_ARG_THINK": "none",
        "LLAMA_ARG_REASONING": "auto",
        "LLAMABIND_VERBOSE": "1",
    }
    config = parse_command_line(["--reasoning-effort", "default"], environment)
    assert (config.reasoning_format, config.enable_thinking) == ("none", None)
    assert (config.reasoning_effort, config.log_level) == (None, "debug")
    assert parse_command_line(["--reasoning-effort", "max"], {}).reasoning_effort == "max"
    assert parse_command_line([], {"LLAMABIND_VERBOSE": "0"}).log_level == "info"


def test_devices_are_listed_by_a_process_of_their_own(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # Without libraries it says why not; with them every device is a line.
    monkeypatch.setenv("LLAMABIND_LIB_DIR", str(tmp_path))
    with pytest.raises(SystemExit) as caught:
        parse_command_line(["--list-devices"], {})
    assert caught.value.code == 1
    assert str(tmp_path) in capfd.readouterr().out
