"""All generated pages: where each stands in the repository, and what makes it."""

from collections.abc import Callable, Mapping
from typing import Final

from reference.benchmarks import benchmarks_page
from reference.commands import commands_page
from reference.configure import configure_page
from reference.metrics import metrics_page

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "docs/benchmarks.md": benchmarks_page,
    "docs/operate/configure.md": configure_page,
    "docs/reference/commands.md": commands_page,
    "docs/reference/metrics.md": metrics_page,
}
