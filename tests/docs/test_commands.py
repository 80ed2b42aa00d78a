"""Every command in the documentation exists, and takes the options that stand there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
from typer.core import TyperGroup
from typer.exceptions import TyperException

from commands.main import commands
from tests.docs.pages import PAGES, ROOT, Example, blocks, examples

FLEET = typer.main.get_command(commands)
TAKES_OPTIONS = {"train", "evaluate", "simulate", "loadtest", "faults", "bench"}
"""Targets that hand OPTIONS to the command of their name."""
SYNOPSIS = "[OPTIONS]"
_IS_COMMAND = re.compile(r"(?:\.venv/bin/)?fleet [a-z-]|make [a-z-]").match


def lines(block: str) -> Iterator[list[str]]:
    """Split a shell block into commands: continued lines joined, comments and variables before a command left out."""
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words:
            yield words


def check(words: list[str], *, is_whole: bool) -> None:
    """Raise what is wrong with a command of the project; of those that stand in a sentence, parts may be missing."""
    program, *rest = words
    if program == "make":
        check_make(rest, is_whole=is_whole)
    elif SYNOPSIS in rest:
        check_synopsis(rest)
    elif program in ("fleet", ".venv/bin/fleet"):
        check_fleet(FLEET, rest, is_whole=is_whole)


def check_make(words: list[str], *, is_whole: bool) -> None:
    rules = re.findall(r"^([\w./][\w./ -]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {name for rule in rules for name in rule.split()}
    asked = [word for word in words if "=" not in word]
    assert set(asked) <= targets, f"make has no target {set(asked) - targets}"
    for word in words:
        if word.startswith("OPTIONS="):
            [target] = asked
            assert target in TAKES_OPTIONS, f"make {target} takes no OPTIONS"
            check_fleet(FLEET, [target, *shlex.split(word.removeprefix("OPTIONS="))], is_whole=is_whole)


def check_synopsis(words: list[str]) -> None:
    """Check the command and the options of a line that shows values in capitals."""
    command: Any = FLEET
    while isinstance(command, TyperGroup):
        name, command, words = command.resolve_command(typer.Context(command), words)
        assert command is not None, f"there is no command {name}"
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def check_fleet(command: Any, words: list[str], *, is_whole: bool) -> None:
    if "--help" in words:
        words = [word for word in words if word != "--help"]
        is_whole = False
    if isinstance(command, TyperGroup):
        if words:
            name, found, rest = command.resolve_command(typer.Context(command), words)
            assert found is not None, f"there is no command {name}"
            check_fleet(found, rest, is_whole=is_whole)
        return
    try:
        command.make_context(command.name, words)
    except TyperException as wrong:
        if is_whole or type(wrong).__name__ != "MissingParameter":
            raise


@pytest.mark.parametrize("block", blocks("sh", "bash", "shell", "console"), ids=str)
def test_commands_in_blocks_exist_with_their_options(block: Example) -> None:
    for words in lines(block.text):
        check(words, is_whole=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_sentences_exist_with_their_options(page: Path) -> None:
    for example in examples(page):
        if not example.language and _IS_COMMAND(example.text):
            try:
                check(shlex.split(example.text), is_whole=False)
            except (TyperException, AssertionError) as wrong:
                pytest.fail(f"{example}: `{example.text}`: {wrong}")


def test_a_command_that_does_not_exist_is_found() -> None:
    with pytest.raises(TyperException):
        check(["fleet", "fly"], is_whole=True)
    with pytest.raises(TyperException):
        check(["fleet", "dlq", "list", "--colour"], is_whole=True)
    with pytest.raises(TyperException):
        check(["make", "loadtest", "OPTIONS=--rate much"], is_whole=True)
    with pytest.raises(TyperException):
        check(["fleet", "backtest", "--fit", "trips.csv"], is_whole=True)
    with pytest.raises(AssertionError):
        check(["make", "coffee"], is_whole=True)
