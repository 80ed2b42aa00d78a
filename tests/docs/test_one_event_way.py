"""Every file and name on the event's way in ARCHITECTURE.md exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

LEAST_STOPS = 10


def stops() -> list[list[str]]:
    """Return the code in each numbered line of the section: a file first, then names in it."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    section = text.split("## One event's way", 1)[1].split("\n## ", 1)[0]
    return [re.findall(r"`([^`]+)`", line) for line in re.findall(r"^\d+\. (.*)$", section, re.MULTILINE)]


def names_in(path: Path) -> Iterator[str]:
    """Return a module's functions and classes, and the methods of the classes as `Class.method`."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{node.name}.{member.name}"


def test_there_are_enough_stops() -> None:
    assert len(stops()) >= LEAST_STOPS


@pytest.mark.parametrize("stop", stops(), ids=lambda stop: stop[0])
def test_file_and_names_exist(stop: list[str]) -> None:
    file, *names = stop
    path = ROOT / file
    assert path.exists()
    if path.is_file():
        assert names
        assert set(names) <= set(names_in(path))
