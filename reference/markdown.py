"""Markdown for generated pages: the note at their top, tables, code."""

from collections.abc import Iterable, Sequence


def page(title: str, source: str, lines: Iterable[str]) -> str:
    """Lay out a page; `source` names where the words stand that it is made from."""
    note = f"<!-- Made by `make docs` from {source}. Change it there. -->"
    return "\n".join([note, "", f"# {title}", "", *lines]).rstrip() + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table's lines, with an empty one behind it; columns that are empty in all rows are left out."""
    columns = [(name, cells) for name, *cells in zip(head, *rows, strict=True) if any(cells)]
    lines = [*zip(*([name, "---", *cells] for name, cells in columns), strict=True)]
    return [*(f"| {' | '.join(map(_cell, line))} |" for line in lines), ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def code(text: str) -> str:
    """Write text as code; nothing stays nothing."""
    return f"`{text}`" if text else ""
