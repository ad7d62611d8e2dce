"""The error for an unsupported CPU, and the libraries without a check of the CPU."""

from pathlib import Path

import pytest

from llamabind._capi import cpu_features
from llamabind._capi.cpu_features import CpuReport, check_cpu, read_cpu_report
from llamabind.errors import LibraryError, UnsupportedCpuError
from tests.support.paths import ROOT


def test_a_build_of_another_project_has_no_cpu_check(tmp_path: Path) -> None:
    assert read_cpu_report(tmp_path / "no-such-file") is None
    check_cpu(tmp_path / "no-such-file")


def test_a_check_library_that_cannot_be_opened_raises_library_error(tmp_path: Path) -> None:
    file = tmp_path / "library"
    file.write_text("no library")
    with pytest.raises(LibraryError, match="cannot be loaded"):
        check_cpu(file)


@pytest.mark.parametrize(
    ("needed", "optional", "words"),
    [
        ("", "", "any CPU of its kind"),
        ("sse3 sse4_2", "", "SSE4.2"),
        ("sse4_2 avx avx2 fma", "", "AVX2"),
        ("avx avx2 avx512f avx512bw", "amx_tile amx_int8", "AVX-512 and AMX"),
    ],
)
def test_a_build_is_named_by_its_newest_instructions(
    needed: str, optional: str, words: str
) -> None:
    found = CpuReport(tuple(needed.split()), tuple(optional.split()), (), "")
    assert found.built_for == words


def test_an_error_lists_four_missing_instruction_sets_and_counts_the_rest() -> None:
    error = UnsupportedCpuError("AVX-512", "Old CPU", tuple("abcdefg"))
    assert "(Old CPU) lacks a, b, c, d and 3 more instruction sets; build" in str(error)
    assert len(str(error)) < 400  # the server cuts messages to clients at 500


def test_the_names_of_instruction_sets_are_unique() -> None:
    header = ROOT / "llamabind" / "csrc" / "cpu_features.h"
    lines = header.read_text(encoding="utf-8").splitlines()
    x86 = lines[: next(i for i, line in enumerate(lines) if "__aarch64__" in line)]
    names = [line.split("(")[1].split(",")[0] for line in x86 if line.startswith("LB_")]
    assert len(names) == len(set(names)) > 40
    assert set(cpu_features._GENERATIONS) >= {"avx512f", "avx2", "avx", "sse4_2"}
