"""Every flag of llama-server is ours, is accepted and ignored, or is refused with a reason."""

import re
from pathlib import Path

from server.cli.parser import make_parser

_OPTION = re.compile(r"\s*(\{[^{}]*\})\s*,\s*(\{[^{}]*\})?")
_EXCLUDED = re.compile(r"\.set_excludes\(\{[^}]*_SERVER[^}]*\}\)")
_EXAMPLES = re.compile(r"\.set_examples\(\{([^}]*)\}\)")


def _options_of_llama_server(text: str) -> set[str]:
    """The names of llama-server's options in common/arg.cpp."""
    names: set[str] = set()
    for option in text.split("add_opt(common_arg(")[1:]:
        examples = _EXAMPLES.search(option)
        is_servers = examples is None or re.search("_(SERVER|COMMON)", examples[1])
        if is_servers and not _EXCLUDED.search(option) and (found := _OPTION.match(option)):
            names.update(re.findall(r'"(-[^"]+)"', found[0]))
    return names


def test_every_flag_of_llama_server_is_known(llama_source: Path) -> None:
    theirs = _options_of_llama_server((llama_source / "common" / "arg.cpp").read_text())
    assert len(theirs) > 400, "the form of arg.cpp has changed"
    assert {"--ctx-size", "-ngl", "--no-warmup", "--spec-type", "-fit"} <= theirs
    known = {name for action in make_parser()._actions for name in action.option_strings}
    assert theirs - known == set()
