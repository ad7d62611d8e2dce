"""`python -m llamabind`: useful with working libraries, and above all without."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from llamabind import __version__, bug_report
from llamabind._capi.cpu_features import CpuReport
from llamabind.bug_report import BugReport, NativeReport, format_report, make_bug_report
from llamabind.cli import main
from llamabind.errors import LibraryNotFoundError
from llamabind.native.backend import Device

NATIVE = NativeReport(
    library_path="/site/llamabind/lib",
    llama_version="0.5.0-dev",
    llama_commit="0c1e57098",
    build_number=11312,
    ggml_version="0.25.3",
    backends=("CUDA", "CPU"),
    devices=(Device("CUDA0", "NVIDIA H100", "gpu", "CUDA", 80 * 2**30, 79 * 2**30),),
    features={"CPU": {"AVX2": "1", "SVE_CNT": "16", "AVX512": "0"}},
    attention="avx2",
)


@pytest.fixture
def working(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bug_report, "_native_report", lambda: NATIVE)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> NativeReport:
        raise LibraryNotFoundError("no native library at /site/llamabind/lib/libllama.so")

    monkeypatch.setattr(bug_report, "_native_report", refuse)
    return


@pytest.mark.usefixtures("working")
def test_the_text_names_library_backends_devices_and_features() -> None:
    text = format_report(make_bug_report())
    values = {line.split("  ")[0]: line.split("  ")[-1].strip() for line in text.splitlines()}
    assert values["llamabind"] == __version__
    assert values["llama.cpp"] == "0.5.0-dev b11312 (0c1e57098), ggml 0.25.3"
    assert values["libraries"] == "/site/llamabind/lib"
    assert values["backends"] == "CUDA, CPU"
    assert values["CPU features"] == "AVX2, SVE_CNT=16"
    assert values["attention"] == "avx2"
    assert values["device CUDA0"] == "NVIDIA H100 (gpu, 79.0 of 80.0 GiB free)"


@pytest.mark.usefixtures("working")
def test_json_holds_the_whole_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["native"] == json.loads(json.dumps(asdict(NATIVE)))
    assert printed["problem"] is None


@pytest.mark.usefixtures("broken")
def test_without_libraries_it_says_so_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split(maxsplit=1) == [
        "problem",
        "no native library at /site/llamabind/lib/libllama.so",
    ]


@pytest.mark.usefixtures("working")
def test_devices_alone_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--devices"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "Available devices:"
    assert [line.split(":")[0].strip() for line in lines] == [it.name for it in NATIVE.devices]


@pytest.mark.usefixtures("broken")
def test_json_without_libraries_is_still_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["native"] is None
    assert printed["llamabind_version"] == __version__


@pytest.mark.usefixtures("broken")
def test_the_cpu_is_described_where_the_libraries_refuse_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = CpuReport(("avx2", "avx512f"), ("amx_int8",), ("avx2",), "Old Xeon")
    monkeypatch.setattr(bug_report, "cpu_library", lambda: Path("/lib/libllamabind-cpu.so"))
    monkeypatch.setattr(bug_report, "read_cpu_report", lambda _: report)
    assert main(["--json"]) == 1
    assert json.loads(capsys.readouterr().out)["cpu"] == {
        "cpu": "Old Xeon",
        "needed": ["avx2", "avx512f"],
        "optional": ["amx_int8"],
        "found": ["avx2"],
    }


@pytest.mark.usefixtures("working")
def test_settings_are_reported_but_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMABIND_LIB_DIR", "/elsewhere")
    monkeypatch.setenv("LLAMA_API_KEY", "secret")
    report = make_bug_report()
    assert report.environment["LLAMABIND_LIB_DIR"] == "/elsewhere"
    assert "secret" not in format_report(report)


def test_it_runs_as_a_program_with_an_empty_library_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "llamabind", "--json"]
    environment = {"LLAMABIND_LIB_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    report = BugReport(**json.loads(result.stdout))
    assert report.problem is not None
    assert str(tmp_path) in report.problem
