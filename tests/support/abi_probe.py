"""A generated C++ program that prints what the compiler makes of the headers.

`layout`     a line for each declared function, struct, field, enum constant and callback type
`defaults`   the bytes of what the *_default_params() functions of the built libraries return
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from llamabind._capi.annotations import FIELDS, STRUCTS
from llamabind._capi.loader import DECLARATIONS, library_file
from tests.support.abi_declared import (
    Lines,
    c_name,
    declared_callbacks,
    declared_constants,
    declared_enums,
)
from tests.support.abi_headers import Header, read_header
from tests.support.paths import ROOT

SHIM_HEADERS = ROOT / "llamabind" / "csrc"
HEADERS = {
    "llama.h": "include",
    "ggml.h": "ggml/include",
    "ggml-backend.h": "ggml/include",
    "ggml-cpu.h": "ggml/include",
    "ggml-opt.h": "ggml/include",
    "ggml-rpc.h": "ggml/include",
    "gguf.h": "ggml/include",
    "mtmd.h": "tools/mtmd",
    "mtmd-helper.h": "tools/mtmd",
    "llamabind.h": "",
}

# Function, its struct, its library, its arguments.
DEFAULTS = (
    ("llama_model_default_params", "llama_model_params", "llama", ""),
    ("llama_context_default_params", "llama_context_params", "llama", ""),
    ("llama_sampler_chain_default_params", "llama_sampler_chain_params", "llama", ""),
    ("llama_model_quantize_default_params", "llama_model_quantize_params", "llama", ""),
    ("ggml_threadpool_params_default", "ggml_threadpool_params", "ggml-base", "7"),
    ("mtmd_context_params_default", "mtmd_context_params", "mtmd", ""),
    ("mtmd_helper_video_init_params_default", "mtmd_helper_video_init_params", "mtmd", ""),
)


@dataclass(frozen=True)
class Probe:
    """The compiled program."""

    executable: Path

    def layout(self) -> Lines:
        return self._run("layout")

    def defaults(self, library_directory: Path) -> Lines:
        """`function.field` to the bytes in hex, or for a pointer `null` or `set`."""
        return self._run("defaults", str(library_directory))

    def _run(self, *arguments: str) -> Lines:
        done = subprocess.run(
            [str(self.executable), *arguments], capture_output=True, text=True, check=True
        )
        return dict(line.split("\t") for line in done.stdout.splitlines())


def header_paths(source: Path) -> dict[str, Path]:
    """Each header by its name; ours lies in llamabind/csrc."""
    return {
        name: source / folder / name if folder else SHIM_HEADERS / name
        for name, folder in HEADERS.items()
    }


def build_probe(source: Path, folder: Path) -> Probe:
    """Writes and compiles the program for what is declared now; needs a C++ compiler."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or "g++"
    paths = header_paths(source)
    code, executable = folder / "probe.cpp", folder / "probe"
    code.write_text(generate({name: read_header(path) for name, path in paths.items()}))
    folders = sorted({Path(__file__).parent, *(path.parent for path in paths.values())})
    flags = ["-std=c++17", "-O0", "-w", "-fno-exceptions", *(f"-I{path}" for path in folders)]
    command = [*compiler.split(), *flags, str(code)]
    done = subprocess.run(
        [*command, "-o", str(executable), "-ldl"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr[:4000]}"
    return Probe(executable)


def generate(headers: dict[str, Header]) -> str:
    """The program's text. Names that no header has are left out: the comparison reports them."""
    includes = "\n".join(f'#include "{name}"' for name in headers)
    aliases, structs = _structs(headers)
    lines = [*_functions(headers), *structs, *_enums(headers), *_constants(headers)]
    layout = "\n    ".join(lines)
    defaults = "\n    ".join(_defaults(headers))
    return f"""{includes}
#include "abi_probe.hpp"

{aliases}

static const Line layout[] = {{
    {layout}
}};

static void print_defaults(const string & directory) {{
    {defaults}
}}

int main(int argc, char ** argv) {{
    if (argc == 3 && !strcmp(argv[1], "defaults")) print_defaults(argv[2]);
    else for (const Line & line : layout) print(line);
}}
"""


def _functions(headers: dict[str, Header]) -> list[str]:
    known = {name for header in headers.values() for name in header.functions + header.deprecated}
    callbacks = {name for header in headers.values() for name in header.callbacks}
    return [
        f'{{"function {name}", signature<decltype(&{name})>, "", 0, 0}},'
        for name in DECLARATIONS
        if name in known
    ] + [
        f'{{"callback {callback.__name__}", kind<true, {callback.__name__}>, "", 0, 0}},'
        for callback in declared_callbacks()
        if callback.__name__ in callbacks
    ]


def _structs(headers: dict[str, Header]) -> tuple[str, list[str]]:
    known = {name: fields for header in headers.values() for name, fields in header.structs.items()}
    aliases, lines = [], []
    for name, struct in STRUCTS.items():
        spelling = getattr(struct, "_c_type_", f"struct {name}")
        if hasattr(struct, "_c_type_"):
            fields = [c_name(field) for field in FIELDS[name]]
        elif name in known:
            fields = known[name]
        else:
            continue
        alias = f"probed_{name}"
        aliases.append(f"using {alias} = {spelling};")
        size = f"sizeof({alias}), alignof({alias})"
        lines.append(f'{{"struct {name}", nullptr, "size=%lld align=%lld", {size}}},')
        lines += [
            f'{{"field {name}.{field}", kind<true, decltype({alias}::{field})>, '
            f'"offset=%lld size=%lld ", offsetof({alias}, {field}), sizeof({alias}::{field})}},'
            for field in fields
        ]
    return "\n".join(aliases), lines


def _enums(headers: dict[str, Header]) -> list[str]:
    known = {name: names for header in headers.values() for name, names in header.enums.items()}
    return [
        f'{{"enum {enumeration.__name__}.{constant}", nullptr, "%lld", {constant}, 0}},'
        for enumeration in declared_enums()
        for constant in known.get(enumeration.__name__, ())
    ]


def _constants(headers: dict[str, Header]) -> list[str]:
    known = {name for header in headers.values() for name in header.macros}
    return [
        f'{{"constant {name}", nullptr, "%lld", {name}, 0}},'
        for name in declared_constants()
        if name in known
    ]


def _defaults(headers: dict[str, Header]) -> list[str]:
    known = {name: fields for header in headers.values() for name, fields in header.structs.items()}
    lines = []
    for function, struct, library, arguments in DEFAULTS:
        call = f'symbol<decltype({function})>(directory, "{library_file(library)}", "{function}")'
        lines.append(f"const auto of_{function} = {call}({arguments});")
        lines += [f'value("{function}.{field}", of_{function}.{field});' for field in known[struct]]
    return lines
