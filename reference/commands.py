"""The page of the `fleet` command: every sub-command with its arguments, options and defaults."""

import enum
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import typer.main

from commands.main import commands
from fleet.settings import PROJECT_FOLDER
from reference import markdown

_TYPES: Final = {int: "integer", float: "number", str: "text", Path: "path"}


def commands_page() -> str:
    """Return the page."""
    group: Any = typer.main.get_command(commands)
    lines = [
        "`fleet` stands in `.venv/bin` once a `make` target has installed the project.",
        "`fleet COMMAND --help` shows the same as this page.",
        "",
        *(line for name, command in group.commands.items() for line in _command(f"fleet {name}", command)),
    ]
    return markdown.page("Commands", "the options and docstrings in commands/", lines)


def _command(title: str, command: Any) -> Iterator[str]:
    """Yield what there is to know of a command, and then of the commands inside of it."""
    yield f"{'#' * (1 + title.count(' '))} {title}"
    yield ""
    yield from inspect.cleandoc(command.help).splitlines()
    yield ""
    inner = getattr(command, "commands", {})
    if inner:
        for name, sub_command in inner.items():
            yield from _command(f"{title} {name}", sub_command)
        return
    parameters = [parameter for parameter in command.params if not parameter.hidden]
    yield from _usage(title, parameters)
    panels = dict.fromkeys(parameter.rich_help_panel for parameter in parameters)
    for panel in panels:
        if panel:
            yield f"**{panel}**"
            yield ""
        rows = [_row(parameter) for parameter in parameters if parameter.rich_help_panel == panel]
        yield from markdown.table(("name", "value", "default", "bounds", "meaning"), rows)


def _usage(title: str, parameters: list[Any]) -> Iterator[str]:
    words = [title, *(_usage_word(parameter) for parameter in parameters if parameter.required)]
    words += ["[OPTIONS]"] * any(not parameter.required for parameter in parameters)
    yield from ("```sh", " ".join(words), "```", "")


def _usage_word(parameter: Any) -> str:
    return f"{parameter.opts[0]} {_value(parameter)}" if _is_option(parameter) else parameter.name.upper()


def _is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


def _is_flag(parameter: Any) -> bool:
    return _is_option(parameter) and bool(parameter.is_flag)


def _row(parameter: Any) -> tuple[str, ...]:
    names = [*parameter.opts, *parameter.secondary_opts] if _is_option(parameter) else [parameter.name.upper()]
    return (
        ", ".join(map(markdown.code, names)),
        "" if _is_flag(parameter) else markdown.code(_value(parameter)),
        "required" if parameter.required else _default(parameter),
        _bounds(parameter),
        parameter.help,
    )


def _value(parameter: Any) -> str:
    """Name what an option takes."""
    if parameter.metavar:
        return str(parameter.metavar)
    kind = parameter.type_descriptor.annotation
    if get_origin(kind) is list:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "|".join(str(member.value) for member in kind)
    return _TYPES[kind].upper()


def _default(parameter: Any) -> str:
    """Write a default that is the same on every machine: a text that stands for one, or the value."""
    value = parameter.default
    if isinstance(parameter.show_default, str):
        return str(parameter.show_default)
    if value is None or value == "" or (_is_flag(parameter) and not parameter.secondary_opts):
        return ""
    if isinstance(value, bool):
        return markdown.code(parameter.opts[0] if value else parameter.secondary_opts[0])
    if isinstance(value, Path) and value.is_absolute():
        value = value.relative_to(PROJECT_FOLDER)
    if isinstance(value, enum.Enum):
        value = value.value
    return markdown.code(f"{value:g}" if isinstance(value, float) else str(value).replace(",", ", "))


def _bounds(parameter: Any) -> str:
    bounds = (("≥", parameter.min), ("≤", parameter.max))
    return ", ".join(f"{sign} {bound:,}" for sign, bound in bounds if bound is not None)
