"""`llamabind doctor`: the findings of each check; no input crashes it. No native code."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

from llamabind.cli.doctor import main
from llamabind.doctor import examination
from llamabind.doctor.child import ChildAnswer, ask_child, read_answer
from llamabind.doctor.environment_checks import cache_folder, check_cache, check_port
from llamabind.doctor.finding import Finding, format_findings, guarded, to_json
from llamabind.doctor.machine_checks import check_cpus, check_huge_pages, check_memory
from llamabind.doctor.native_checks import (
    check_amx,
    check_cpu,
    check_devices,
    check_gpu,
    check_library,
    check_python,
)
from llamabind.doctor.self_test_check import check_self_test

GIB = 2**30
CPU = {
    "name": "CPU",
    "description": "AMD EPYC",
    "kind": "cpu",
    "backend": "CPU",
    "memory_total": 16 * GIB,
    "memory_free": 8 * GIB,
}
GPU = CPU | {"name": "CUDA0", "kind": "gpu", "backend": "CUDA"}


def make_native(**fields: Any) -> dict[str, Any]:
    usual = {
        "library_path": "/site/llamabind/lib",
        "llama_version": "0.5.0",
        "llama_commit": "0c1e57098",
        "build_number": 11312,
        "ggml_version": "0.25.3",
        "backends": ["CPU"],
        "devices": [CPU],
        "features": {"CPU": {"AVX2": "1"}},
    }
    return usual | fields


def answer_of(native: dict[str, Any] | None, problem: str | None = None) -> ChildAnswer:
    return ChildAnswer({"native": native, "problem": problem, "environment": {}})


def test_a_working_library_is_named_with_its_versions_and_folder() -> None:
    found = check_library(answer_of(make_native()))
    assert (found.status, found.advice) == ("ok", "")
    assert found.detail == "0.5.0 b11312 (0c1e57098), ggml 0.25.3, from /site/llamabind/lib"


def test_a_library_that_does_not_load_is_broken_with_its_reason() -> None:
    found = check_library(answer_of(None, "no native library at /site/lib/libllama.so"))
    assert (found.status, found.detail) == ("broken", "no native library at /site/lib/libllama.so")
    assert "pip install" in found.advice


def test_a_folder_chosen_by_a_variable_is_suspected_first() -> None:
    fields = {"native": None, "problem": "x", "environment": {"LLAMABIND_LIB_DIR": "/elsewhere"}}
    found = check_library(ChildAnswer(fields))
    assert found.advice.startswith("unset LLAMABIND_LIB_DIR (now /elsewhere)")


def test_a_library_for_another_cpu_is_explained() -> None:
    found = check_library(read_answer(-signal.SIGILL, b"", b""))
    assert found.status == "broken"
    assert "instructions that this CPU does not have" in found.detail
    assert "for this CPU" in found.advice


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (read_answer(-signal.SIGSEGV, b"", b""), "was killed by SIGSEGV"),
        (read_answer(1, b"", b"a\nImportError: no psutil\n"), "status 1: a / ImportError"),
        (read_answer(0, b"[]", b""), "ended with status 0: no message"),
        (ChildAnswer(None, "did not end within 60 seconds"), "did not end within 60 seconds"),
    ],
)
def test_a_child_that_fails_is_a_finding(answer: ChildAnswer, words: str) -> None:
    found = check_library(answer)
    assert found.status == "broken"
    assert words in found.detail


def test_a_child_really_killed_by_a_signal_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "import os, signal", "os.kill(os.getpid(), signal.SIGILL)"
    (tmp_path / "dies.py").write_text("\n".join(lines))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert ask_child(["dies"], 60.0).signal_name == "SIGILL"


def test_a_child_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(3600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answer = ask_child(["hangs"], 0.5)
    assert answer == ChildAnswer(None, "did not end within 0.5 seconds")


def test_devices_are_listed_with_their_free_memory() -> None:
    found = check_devices(make_native(devices=[GPU, CPU]))
    assert found.status == "ok"
    assert found.detail == (
        "CUDA0 (AMD EPYC, 8.0 of 16.0 GiB free); CPU (AMD EPYC, 8.0 of 16.0 GiB free)"
    )
    assert check_devices(make_native(devices=[])).status == "broken"


def test_a_gpu_that_the_build_cannot_use_is_a_warning() -> None:
    drivers = {"NVIDIA": "CUDA"}
    assert check_gpu(make_native(), {}).status == "ok"
    assert check_gpu(make_native(devices=[GPU, CPU]), drivers).status == "ok"
    without = check_gpu(make_native(), drivers)
    assert without.status == "warning"
    assert "-DGGML_CUDA=ON" in without.advice
    blind = check_gpu(make_native(backends=["CUDA", "CPU"]), drivers)
    assert blind.status == "warning"
    assert "CUDA_VISIBLE_DEVICES" in blind.advice
    amd = check_gpu(make_native(backends=["ROCm", "CPU"]), {"AMD": "HIP"})
    assert "HIP_VISIBLE_DEVICES" in amd.advice


def make_cpu(**fields: Any) -> dict[str, Any]:
    usual = {"cpu": "EPYC", "needed": ["avx", "avx2"], "optional": [], "found": ["avx", "avx2"]}
    return usual | fields


def test_a_cpu_that_lacks_what_the_build_needs_is_broken() -> None:
    right = check_cpu(make_cpu(), make_native())
    assert right.status == "ok"
    assert right.detail == "EPYC, built for avx2; all 2 instruction sets needed are found"
    assert check_cpu(None, make_native()).status == "warning"
    lacking = check_cpu(make_cpu(needed=["avx2", "avx512f"]), None)
    assert lacking.status == "broken"
    assert lacking.detail == "the libraries need avx512f, which this CPU (EPYC) lacks"


def test_a_build_for_older_cpus_is_a_warning() -> None:
    wide = make_cpu(found=["avx", "avx2", "avx512f"])
    assert "found but not used: avx512f" in check_cpu(wide, make_native()).detail
    variant = make_native(features={"CPU": {"AVX2": "1", "AVX512": "1"}})
    assert check_cpu(wide, variant).status == "ok"


def test_amx_is_used_or_there_is_advice() -> None:
    both = ["avx", "avx2", "amx_tile", "amx_int8"]
    assert check_amx(make_cpu()).detail.startswith("not used: this CPU or the system")
    assert check_amx(make_cpu(found=both, optional=both[1:])).status == "ok"
    left_out = check_amx(make_cpu(found=both))
    assert (left_out.status, bool(left_out.advice)) == ("warning", True)


SPEED = {"name": "CPU", "prompt_tokens_per_second": 9000.4, "tokens_per_second": 1000.2}


@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        (
            {"status": "ok", "detail": "", "devices": [SPEED]},
            "ok",
            "computes right; CPU 9000 prompt tok",
        ),
        (
            {"status": "ok", "detail": "CUDA0 was not tested: x", "devices": [SPEED]},
            "warning",
            "CPU 9000",
        ),
        (
            {"status": "failed", "detail": "it computes wrong; do this", "devices": []},
            "broken",
            "it computes",
        ),
        (
            {"status": "untestable", "detail": "no driver", "devices": []},
            "warning",
            "skipped: no driver",
        ),
    ],
)
def test_the_self_tests_result_is_a_finding(
    answer: dict[str, Any], status: str, detail: str
) -> None:
    found = check_self_test(ChildAnswer(answer))
    assert found.status == status
    assert found.detail.startswith(detail)
    assert found.advice == ("do this" if status == "broken" else "")


def test_a_self_test_that_is_killed_is_broken() -> None:
    found = check_self_test(read_answer(-signal.SIGILL, b"", b""))
    assert (found.name, found.status) == ("self test", "broken")
    assert "SIGILL" in found.detail


def test_an_old_or_small_python_is_broken() -> None:
    assert check_python((3, 11, 2), "CPython", 64).status == "ok"
    assert check_python((3, 10, 9), "CPython", 64).status == "broken"
    assert check_python((3, 12, 0), "CPython", 32).status == "broken"


def test_a_containers_memory_limit_is_named() -> None:
    assert check_memory(8 * GIB, 16 * GIB, 16 * GIB).detail == "8.0 of 16.0 GiB free"
    limited = check_memory(2 * GIB, 4 * GIB, 16 * GIB)
    assert limited.status == "ok"
    assert "the machine has 16.0 GiB" in limited.detail
    assert "raise the container's" in check_memory(GIB // 2, 4 * GIB, 16 * GIB).advice
    assert "end other programs" in check_memory(GIB // 2, 4 * GIB, 4 * GIB).advice


def test_a_containers_share_of_cpus_is_named() -> None:
    assert check_cpus(8, 8, None).detail == "8"
    assert check_cpus(8, 8, 2).detail == "2 of 8: the container's quota allows 2"
    assert check_cpus(8, 4, 16).detail == "4 of 8: CPU affinity allows 4"


@pytest.mark.parametrize(
    ("setting", "status"),
    [
        ("always [madvise] never\n", "ok"),
        ("[always] madvise never\n", "ok"),
        ("always madvise [never]\n", "warning"),
        ("", "warning"),
    ],
)
def test_huge_pages_are_on_or_there_is_a_warning(setting: str, status: str) -> None:
    assert check_huge_pages("Linux", setting).status == status
    assert check_huge_pages("Darwin", "").status == "ok"


def test_the_build_cache_is_the_builds_own() -> None:
    assert cache_folder({"LLAMABIND_CACHE_DIR": "/a/b"}) == Path("/a/b")
    assert cache_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/llamabind")
    assert cache_folder({}) == Path("~/.cache/llamabind").expanduser()


def test_the_build_cache_may_be_missing_but_must_be_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_cache(tmp_path / "not" / "yet").status == "ok"
    assert list(tmp_path.iterdir()) == []

    def refuse(**_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    found = check_cache(tmp_path)
    assert (found.status, found.detail) == (
        "warning",
        f"{tmp_path} cannot be written to: Permission denied",
    )
    assert "LLAMABIND_CACHE_DIR" in found.advice


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = GIB

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage)
    assert check_cache(tmp_path).status == "warning"


def test_a_port_in_use_is_a_warning_with_another_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        taken = check_port(port)
    assert (taken.name, taken.status) == (f"port {port}", "warning")
    assert "--port" in taken.advice
    assert check_port(port).status == "ok"


def test_a_check_that_fails_itself_is_a_finding() -> None:
    def fail() -> Finding:
        raise ModuleNotFoundError("No module named 'psutil'")

    found = guarded("memory", fail)
    assert (found.name, found.status) == ("memory", "broken")
    assert "No module named 'psutil'" in found.detail


FINDINGS = [
    Finding("memory", "ok", "8 GiB"),
    Finding("huge pages", "warning", "turned off", "turn them on"),
]


def test_the_text_is_aligned_with_advice_below() -> None:
    assert format_findings(FINDINGS).splitlines() == [
        "ok       memory      8 GiB",
        "warning  huge pages  turned off",
        "                     -> turn them on",
        "",
        "0 broken, 1 warning, 1 in order.",
    ]
    assert format_findings(FINDINGS[:1]).endswith("Everything is in order.")


def test_the_json_names_the_worst_status() -> None:
    assert to_json(FINDINGS)["status"] == "warning"
    assert to_json(FINDINGS[:1])["status"] == "ok"
    assert to_json([*FINDINGS, Finding("x", "broken", "")])["status"] == "broken"


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "ask_child", lambda *_: read_answer(-signal.SIGILL, b"", b""))


@pytest.mark.usefixtures("without_library")
def test_something_broken_is_exit_status_1_and_the_other_checks_go_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    statuses = {it["name"]: it["status"] for it in printed["findings"]}
    assert printed["status"] == statuses["llama.cpp"] == "broken"
    assert {"memory", "CPUs", "port 8080"} <= statuses.keys()


@pytest.mark.usefixtures("without_library")
def test_a_machine_without_proc_and_sys_is_examined_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "_HUGE_PAGES", tmp_path / "missing")
    found = {it.name: it for it in examination.examine(port=8080, with_self_test=False)}
    assert found["huge pages"].status == "warning"


def test_an_invalid_port_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--port", "70000"])
    assert ended.value.code == 2
    assert "'70000' is not a port: a number from 1 to 65535" in capsys.readouterr().err
