"""All generated pages: where each stands in the repository, and what makes it."""

from collections.abc import Callable, Mapping
from typing import Final

from reference.benchmarks import benchmarks_page
from reference.commands import commands_page
from reference.configure import configure_page
from reference.habits import habits_page
from reference.metrics import metrics_page
from reference.records import asyncapi_text, rest_page, topics_page, websocket_page

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "docs/asyncapi.json": asyncapi_text,
    "docs/benchmarks.md": benchmarks_page,
    "docs/operate/configure.md": configure_page,
    "docs/reference/commands.md": commands_page,
    "docs/reference/habits.md": habits_page,
    "docs/reference/metrics.md": metrics_page,
    "docs/reference/rest.md": rest_page,
    "docs/reference/topics.md": topics_page,
    "docs/reference/websocket.md": websocket_page,
}
