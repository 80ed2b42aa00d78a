"""What the tests of the documentation read: its pages, and the examples in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "k8s" / "README.md"})

_FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Example:
    """A fenced block, or a piece of inline code (whose language is empty)."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def examples(page: Path) -> Iterator[Example]:
    """Return a page's fenced blocks, and the inline code around them."""
    text = page.read_text()
    for match in _FENCE.finditer(text):
        yield Example(page, _line(text, match.start()), match[2], match[3])
    prose = re.sub(
        r"^( *)```.*?^\1```$", lambda block: "\n" * block[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL
    )
    for match in _INLINE.finditer(prose):
        yield Example(page, _line(prose, match.start()), "", match[1])


def blocks(*languages: str) -> list[Example]:
    """Return all fenced blocks of some languages."""
    return [example for page in PAGES for example in examples(page) if example.language in languages]


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1
