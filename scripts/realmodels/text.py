"""English text for perplexity and long prompts: documents of the pinned llama.cpp source."""

from llama_source import llama_cpp_source

_FILES = ("docs/build.md", "tools/server/README.md", "tools/completion/README.md")


def english_text() -> str:
    """About 150,000 characters; the same for everyone who uses the same llama.cpp."""
    root = llama_cpp_source()
    found = [path for name in _FILES if (path := root / name).is_file()]
    return "\n\n".join(path.read_text(encoding="utf-8") for path in found)
