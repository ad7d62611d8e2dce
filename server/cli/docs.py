"""The table of all flags in docs/running.md; `python -m server.cli.docs` regenerates it."""

import sys
from pathlib import Path

from server.cli.flag import Flag
from server.cli.parser import default_text
from server.cli.table import GROUPS

BEGIN = "<!-- flags: written by python -m server.cli.docs -->"
END = "<!-- end of flags -->"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "running.md"


def flag_tables() -> str:
    """One Markdown table for each group."""
    parts = []
    for group in GROUPS:
        rows = "\n".join(_row(flag) for flag in group.flags)
        head = "| flag | variable | default | meaning |\n| --- | --- | --- | --- |"
        parts.append(f"### {group.title[0].upper()}{group.title[1:]}\n\n{head}\n{rows}\n")
    return "\n".join(parts)


def updated(document: str) -> str:
    """The document with its tables replaced. Raises ValueError if BEGIN or END is missing."""
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{flag_tables()}\n{END}{after}"


def _row(flag: Flag) -> str:
    value = f" {flag.metavar}" if flag.metavar else ""
    names = ", ".join(f"`{name}`" for name in (*flag.names[:-1], flag.names[-1] + value))
    negative = f", `{flag.negative_names[-1]}`" if flag.negative_names else ""
    default = default_text(flag)
    cells = (names + negative, f"`{flag.variable}`", f"`{default}`" if default else "", flag.help)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    DOCUMENT.write_text(updated(DOCUMENT.read_text()))
    sys.exit(0)
