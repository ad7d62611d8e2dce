"""vendor/amx.cmake builds AMX only with a compiler and on a machine where it works.

One small CMake project has a target for each case. Other probe sources stand in for faulty
compilers; the installed compiler is checked by its object code.
"""

import json
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.cmake_project import configure
from tests.support.paths import ROOT

FLAGS = ["-mavx512vnni", "-mamx-tile", "-mamx-int8"]
KEEP_STORES = ["-fno-tree-dse", "-fno-dse"]
NO_AMX = ["-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16"]

pytestmark = [
    pytest.mark.abi,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="AMX exists on x86-64 only"),
]

PROJECT = """
cmake_minimum_required(VERSION 3.21)
project(amx_test LANGUAGES CXX)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
include("@root@/vendor/amx.cmake")

function(mend name options)
  add_library(ggml-cpu-${name} STATIC ${name}/mmq.cpp ${name}/other.cpp)
  target_compile_options(ggml-cpu-${name} PRIVATE -O3 ${options})
  llamabind_mend_amx(ggml-cpu-${name} "${CMAKE_CURRENT_SOURCE_DIR}/${name}/mmq.cpp")
endfunction()

set(amx @flags@)
mend(none "-mavx2")
mend(portable "${amx}")

set(LLAMABIND_AMX_PROBE "${CMAKE_CURRENT_SOURCE_DIR}/keeps.cpp")
mend(sound "${amx}")

set(LLAMABIND_AMX_PROBE "${CMAKE_CURRENT_SOURCE_DIR}/needs_flags.cpp")
mend(mended "${amx}")

set(LLAMABIND_AMX_PROBE "${CMAKE_CURRENT_SOURCE_DIR}/loses.cpp")
mend(hopeless "${amx}")

set(LLAMABIND_AMX_PROBE "${CMAKE_CURRENT_SOURCE_DIR}/keeps.cpp")
set(GGML_NATIVE ON)
mend(native "${amx}")
set(LLAMABIND_AMX_RUN "${CMAKE_CURRENT_SOURCE_DIR}/right.cpp")
mend(right "${amx}")
set(LLAMABIND_AMX_RUN "${CMAKE_CURRENT_SOURCE_DIR}/wrong.cpp")
mend(wrong "${amx}")
set(LLAMABIND_AMX_RUN "${CMAKE_CURRENT_SOURCE_DIR}/dies.cpp")
mend(dies "${amx}")
set(CMAKE_CROSSCOMPILING ON)
mend(cross "${amx}")
"""

# The fault of GCC's header: it declares 8 bytes of the configuration as read, but 64 are.
NEEDS_FLAGS = """
#include <cstdint>
struct tile_config { uint64_t head = 0, colsb[5] = {}, rows[2] = {}; };
void load_tile_config() {
    tile_config config;
    config.rows[0] = 0x776f52676663424cull;
    __asm__ volatile("" : : "m"(config.head));
}
"""
SOURCES = {
    "keeps.cpp": 'extern const char text[]; const char text[] = "LBcfgRow";',
    "needs_flags.cpp": NEEDS_FLAGS,
    "loses.cpp": "int nothing;",
    "right.cpp": "int main() { return 0; }",
    "wrong.cpp": '#include <cstdio>\nint main() { puts("AMX computes 1, right is 2"); return 3; }',
    "dies.cpp": "int main() { __builtin_trap(); }",
}
CASES = (
    "none",
    "portable",
    "sound",
    "mended",
    "hopeless",
    "native",
    "right",
    "wrong",
    "dies",
    "cross",
)
# Contains the stores of a tile configuration that faulty compilers drop, as ggml-cpu does.
LOADS_A_CONFIGURATION = (ROOT / "vendor" / "amx_probe.cpp").read_text(encoding="utf-8")


class Configured:
    """The project after CMake's configure step."""

    def __init__(self, folder: Path, log: str) -> None:
        self.log = log
        commands = json.loads((folder / "build" / "compile_commands.json").read_text())
        self._commands = {
            str(Path(entry["file"]).relative_to(folder)): entry["command"].split()
            for entry in commands
        }

    def options(self, file: str) -> list[str]:
        """Those options of the file's command that this check sets, in order."""
        known = [*FLAGS, *KEEP_STORES, *NO_AMX]
        return [option for option in self._commands[file] if option in known]

    def command(self, file: str) -> list[str]:
        return self._commands[file]


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Configured:
    folder = tmp_path_factory.mktemp("amx")
    for name, text in SOURCES.items():
        (folder / name).write_text(text)
    for case in CASES:
        (folder / case).mkdir()
        (folder / case / "mmq.cpp").write_text(LOADS_A_CONFIGURATION)
        (folder / case / "other.cpp").write_text("int nothing;")
    text = PROJECT.replace("@root@", str(ROOT)).replace("@flags@", f'"{";".join(FLAGS)}"')
    (folder / "CMakeLists.txt").write_text(text)
    return Configured(folder, configure(folder))


def test_a_target_without_amx_is_unchanged(configured: Configured) -> None:
    assert configured.options("none/mmq.cpp") == []
    assert "ggml-cpu-none" not in configured.log


def test_a_compiler_that_keeps_the_stores_gets_no_flags(configured: Configured) -> None:
    assert configured.options("sound/mmq.cpp") == FLAGS
    assert "ggml-cpu-sound has AMX; this compiler needs no flags" in configured.log


def test_a_compiler_that_drops_the_stores_gets_the_flags_for_one_file(
    configured: Configured,
) -> None:
    if _is_clang():
        assert configured.options("mended/mmq.cpp") == [*FLAGS, *NO_AMX]
    else:
        assert configured.options("mended/mmq.cpp") == [*FLAGS, *KEEP_STORES]
        assert configured.options("mended/other.cpp") == FLAGS


def test_a_compiler_that_the_flags_do_not_fix_builds_without_amx(configured: Configured) -> None:
    for file in ("hopeless/mmq.cpp", "hopeless/other.cpp"):
        assert configured.options(file) == [*FLAGS, *NO_AMX]
    assert "drops the stores to AMX's tile configuration" in configured.log
    assert "ggml-cpu-hopeless is built without AMX" in configured.log


def test_the_installed_compiler_keeps_the_configuration(
    configured: Configured, tmp_path: Path
) -> None:
    """With the options that the real probe chose, the object code has the whole configuration."""
    assert "-mamx-tile" in configured.options("portable/mmq.cpp")
    if "-mno-amx-tile" in configured.options("portable/mmq.cpp"):
        assert "ggml-cpu-portable is built without AMX" in configured.log
        return
    command = configured.command("portable/mmq.cpp")
    made = tmp_path / "mmq.o"
    command[command.index("-o") + 1] = str(made)
    subprocess.run(command, check=True, cwd=tmp_path)
    content = made.read_bytes()
    assert b"LBcf" in content
    assert b"gRow" in content


def test_amx_is_built_where_it_computes_correctly(configured: Configured) -> None:
    assert configured.options("right/mmq.cpp") == FLAGS


@pytest.mark.parametrize(
    ("case", "why"),
    [("wrong", "(AMX computes 1, right is 2)"), ("dies", "(a product of two tiles dies: ")],
)
def test_amx_is_not_built_where_it_computes_wrongly_or_crashes(
    configured: Configured, case: str, why: str
) -> None:
    for file in ("mmq.cpp", "other.cpp"):
        assert configured.options(f"{case}/{file}") == [*FLAGS, *NO_AMX]
    assert why in configured.log
    assert f"so ggml-cpu-{case} is built without it" in configured.log


def test_a_cross_build_runs_nothing(configured: Configured) -> None:
    """The run check of this target would crash."""
    assert configured.options("cross/mmq.cpp") == FLAGS


def test_the_run_check_finds_whether_this_machine_has_amx(configured: Configured) -> None:
    """The check multiplies two tiles, because a machine that lists AMX may not run it."""
    flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    expected = FLAGS if "amx_int8" in flags else [*FLAGS, *NO_AMX]
    assert configured.options("native/mmq.cpp") == expected


def _is_clang() -> bool:
    compiler = shutil.which("c++") or "g++"
    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    return "clang" in said.stdout
