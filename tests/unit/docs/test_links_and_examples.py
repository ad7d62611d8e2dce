"""The documents match the code, and their links lead to files."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from server.api.openai.chat import ChatCompletionBody
from server.api.v2.schema import ChatBody
from tests.support.paths import ROOT

_SOURCES = {".py", ".cpp", ".h", ".js", ".css"}


@pytest.mark.parametrize("package", ["llamabind", "server"])
def test_the_architecture_has_a_line_for_every_folder(package):
    text = (ROOT / "docs" / "architecture.md").read_text()
    section = text[text.index(f"## The folders of {package}") :].split("\n## ")[0]
    described = set(re.findall(r"`([\w/]+)/`|`(worker/\w+)`|`(api/\w+)`", section))
    described = {name for names in described for name in names if name}
    root = ROOT / package
    folders = {path.parent.relative_to(root).as_posix() for path in root.rglob("*.py")}
    assert folders - {"."} - described == set()


@pytest.mark.parametrize("package", ["llamabind", "server"])
def test_no_folder_has_more_than_16_modules(package):
    """`_capi` has a module for each header of llama.cpp."""
    modules = [path for path in (ROOT / package).rglob("*.py") if path.name != "__init__.py"]
    counts = Counter(path.parent.relative_to(ROOT).as_posix() for path in modules)
    assert {folder for folder, n in counts.items() if n > 16} - {"llamabind/_capi"} == set()


@pytest.mark.parametrize("package", ["llamabind", "server"])
def test_no_source_file_has_more_than_360_lines(package):
    files = [
        path
        for path in (ROOT / package).rglob("*")
        if path.suffix in _SOURCES and "vendor" not in path.parts
    ]
    assert len(files) > 100
    lengths = {path.relative_to(ROOT).as_posix(): path.read_bytes().count(b"\n") for path in files}
    assert {name: n for name, n in lengths.items() if n > 360} == {}


def test_every_document_links_to_files_that_exist():
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    links = [
        (document, target)
        for document in documents
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text())
        if "://" not in target
    ]
    assert len(links) > 5
    missing = [target for document, target in links if not (document.parent / target).exists()]
    assert missing == []


def test_every_path_that_a_document_names_exists():
    documents = [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
        *(ROOT / "docs").glob("*.md"),
        ROOT / "llamabind" / "models" / "README.md",
    ]
    paths = {
        path
        for document in documents
        for path in re.findall(
            r"(?<![\w/.-])(?:llamabind|server|tests|scripts|docs|vendor)/[\w./-]*\w",
            document.read_text(),
        )
    }
    assert len(paths) > 50
    made_by_builds = {"llamabind/lib", "vendor/llama.cpp"}
    missing = {path for path in paths - made_by_builds if not (ROOT / path).exists()}
    assert missing == set()


def test_every_file_in_readmes_table_of_folders_is_in_its_folder():
    section = (ROOT / "README.md").read_text().split("## Where things are")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
    named = [
        (re.findall(r"`([\w/]+)/`", folders), file)
        for folders, text in rows
        for file in re.findall(r"`([\w/]+\.(?:py|cpp))`", text)
    ]
    assert len(named) > 15
    missing = [
        file
        for folders, file in named
        if not any((ROOT / folder / file).exists() for folder in [*folders, "."])
    ]
    assert missing == []


def test_every_section_that_a_link_names_exists():
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    links = [
        (document, *match)
        for document in documents
        for match in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text())
    ]
    assert len(links) > 5
    missing = [
        (document.name, target, section)
        for document, target, section in links
        if section not in _sections((document.parent / target) if target else document)
    ]
    assert missing == []


def _sections(document):
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_field_of_a_chat_request_is_described():
    text = (ROOT / "docs" / "api.md").read_text()
    fields = {*ChatBody.__struct_fields__, *ChatCompletionBody.__struct_fields__}
    assert {field for field in fields if f"`{field}`" not in text} == set()
