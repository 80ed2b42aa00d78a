"""How plots look, and how one is put into a page. Neighbours: `training.report` and `loadtest.plots` draw them."""

import html
import io
from typing import Any, Final

from matplotlib.figure import Figure

INK, MUTED, LINE, ACCENT, ALARM = "#12161c", "#5d6675", "#e3e6eb", "#2457c5", "#c4192a"
STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same page on every machine
    "font.size": 8.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": "#c9ced7",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}
"""For `matplotlib.rc_context`; a user adds what is its own."""
_PIXELS_PER_INCH: Final = 104


def inline_svg(figure: Figure, description: str) -> str:
    """Return the figure as inline SVG, told in words to those who cannot see it."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    drawing = text.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    # Plots of different widths have letters of one size.
    width = f"max-width: {figure.get_figwidth() * _PIXELS_PER_INCH:.0f}px"
    return f'<figure role="img" aria-label="{html.escape(description)}" style="{width}">{drawing}</figure>'
