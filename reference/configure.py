"""The page of what an operator may set: the settings with their bounds, and the environment variables."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from commands.notify import SECRET_MEANING, SECRET_VARIABLE
from deployments.autoscaling import ScaleOnLag
from deployments.web.feed.hub import CURSOR_KEY_MEANING, CURSOR_KEY_VARIABLE
from fleet.kafka import CLIENT_VARIABLES
from fleet.settings import PROJECT_FOLDER, Settings
from launch.serve_config import read_serve_config
from reference import markdown

RAY_VARIABLES_FILE: Final = PROJECT_FOLDER / "launch" / "ray.env"

# A setting's unit stands in its name.
_UNITS: Final = {
    "ms": "milliseconds",
    "s": "seconds",
    "hours": "hours",
    "share": "share of 1",
    "severity": "severity, 0 to 1",
    "factor": "copies",
    **dict.fromkeys(("bytes", "records", "events", "rows", "vehicles", "clients"), ""),
    **dict.fromkeys(("partitions", "threads", "attempts", "turns", "alarms", "readers"), ""),
}
_TYPES: Final = {int: "integer", float: "number", str: "text", bool: "`true` or `false`", Path: "path"}


def configure_page() -> str:
    """Return the page."""
    return markdown.page("Configure", "fleet/settings.py, fleet/kafka/connection.py and launch/ray.env", _lines())


def _lines() -> list[str]:
    return [
        "Settings stand in `serve_config.yaml`, below `args` of the application `fleet`.",
        "What stands there is the default: a setting that is left out has the same value.",
        "An unknown setting, or a value out of bounds, stops the start with a sentence that names it.",
        "",
        *_section("", Settings),
        "## Scaling",
        "",
        "These stand in `serve_config.yaml` below `autoscaling_policy.policy_kwargs`.",
        "How many replicas there may be stands below `deployments`, in Serve's own `autoscaling_config`.",
        "",
        *_policy_table(),
        "## Kafka's connection",
        "",
        "The connection and its credentials come from the environment, so that no file holds a password.",
        "Every process reads them when it starts. Any of them may be left out.",
        "",
        *markdown.table(
            ("variable", "meaning", "property of librdkafka"),
            [(markdown.code(name), v.meaning, markdown.code(v.property)) for name, v in CLIENT_VARIABLES.items()],
        ),
        "## The feed's key",
        "",
        "It comes from the environment of every gateway replica, too.",
        "",
        *markdown.table(("variable", "meaning"), [(markdown.code(CURSOR_KEY_VARIABLE), CURSOR_KEY_MEANING)]),
        "## Secret of notices",
        "",
        *markdown.table(("variable", "meaning"), [(markdown.code(SECRET_VARIABLE), SECRET_MEANING)]),
        "## Ray's variables",
        "",
        "Set these before Ray starts, on every node. `fleet run`, docker-compose and the image do so already.",
        "By hand, `set -a; . launch/ray.env; set +a` sets all of them.",
        "`fleet run` leaves a variable that is set already as it is.",
        "",
        *_ray_table(),
    ]


def _section(prefix: str, section: type[BaseModel]) -> Iterator[str]:
    """Yield a table of a section's settings, and then the sections inside of it."""
    rows, inner = [], []
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            inner.append((f"{prefix}{name}", field.annotation))
        else:
            rows.append((markdown.code(name), *_described(name, field)))
    if rows:
        yield f"## {prefix.rstrip('.')}"
        yield ""
        yield str(section.__doc__)
        yield ""
        yield from markdown.table(("setting", "default", "type", "bounds", "unit", "meaning"), rows)
    for place, model in inner:
        yield from _section(f"{place}.", model)


def _described(name: str, field: FieldInfo) -> tuple[str, ...]:
    kind = kind_of(field.annotation)
    unit = unit_of(name) if kind in ("integer", "number") else ""
    return _default(field.default), kind, bounds_of(field), unit, field.description or ""


def kind_of(annotation: Any) -> str:
    """Name a setting's type. Raises KeyError for one that has no name here."""
    if get_origin(annotation) is Literal:
        return " or ".join(markdown.code(str(value)) for value in get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"list of {kind_of(get_args(annotation)[0])}"
    if get_origin(annotation) is dict:
        return " to ".join(map(kind_of, get_args(annotation)))
    return _TYPES[annotation]


def bounds_of(field: FieldInfo) -> str:
    """Write a setting's bounds, as `≥ 1, ≤ 64`."""
    signs = ((Gt, "gt", ">"), (Ge, "ge", "≥"), (Lt, "lt", "<"), (Le, "le", "≤"))
    return ", ".join(
        f"{sign} {getattr(bound, attribute):,}"
        for kind, attribute, sign in signs
        for bound in field.metadata
        if isinstance(bound, kind)
    )


def unit_of(name: str) -> str:
    """Read the unit of a number from its setting's name. Raises KeyError where the name has none."""
    unit = next((word for word in reversed(name.split("_")) if word in _UNITS), None)
    if unit is None:
        raise KeyError(f"{name} names no unit: put it into the name, or add it to the units of the page")
    return _UNITS[unit] or unit


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return markdown.code(str(value).lower())
    if isinstance(value, tuple):
        return markdown.code(str(list(value)))
    return markdown.code(f"{value:g}" if isinstance(value, float) else str(value))


def _policy_table() -> list[str]:
    stated = read_serve_config()["applications"][0]["autoscaling_policy"]["policy_kwargs"]
    meanings = get_type_hints(ScaleOnLag.__init__, include_extras=True)
    rows = [
        (markdown.code(name), markdown.code(f"{value:g}"), meanings[name].__metadata__[0])
        for name, value in stated.items()
    ]
    return markdown.table(("setting", "value there", "meaning"), rows)


class RayVariables(NamedTuple):
    """Variables with one meaning, and their values."""

    values: dict[str, str]
    meaning: str


def read_ray_variables(text: str) -> list[RayVariables]:
    """Read an env file of paragraphs, each a comment and its variables; one without variables is about the file."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.strip().splitlines()
        values = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
        if values:
            comment = " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))
            found.append(RayVariables(values, comment))
    return found


def _ray_table() -> list[str]:
    rows = [
        (markdown.code(name), markdown.code(value), variables.meaning)
        for variables in read_ray_variables(RAY_VARIABLES_FILE.read_text("utf-8"))
        for name, value in variables.values.items()
    ]
    return markdown.table(("variable", "value", "reason"), rows)
