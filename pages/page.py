"""One HTML file without outside links: its frame, and the look of sections, tables and figures.

Neighbours: `training.report` and `loadtest.page` fill it, `drawing` makes the figures.
"""

import html
from typing import Final


def page(title: str, subtitle: str, body: str, css: str) -> str:
    """Return the page; `body` is HTML, `css` is added to what all pages share."""
    title, subtitle = html.escape(title), html.escape(subtitle)
    return _HEAD.replace("@TITLE@", title).replace("@CSS@", css) + (
        f'<h1>{title}</h1>\n<p class="subtitle">{subtitle}</p>\n{body}\n</main>\n</body>\n</html>\n'
    )


_HEAD: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light">
<title>@TITLE@</title>
<style>
:root { --ink: #12161c; --muted: #5d6675; --line: #e3e6eb; --ground: #f3f4f6; --accent: #2457c5; --alarm: #c4192a; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); line-height: 1.45; font-size: 14px;
  font-family: Inter, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 26px; line-height: 1.2; letter-spacing: -0.01em; margin: 0 0 4px; }
h2 { font-size: 17px; margin: 0 0 2px; }
.subtitle { color: var(--muted); }
.note { color: var(--muted); font-size: 13px; max-width: 90ch; }
section { background: #fff; border: 1px solid var(--line); border-radius: 8px; margin: 0 0 20px;
  padding: 18px 20px 16px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 13px; margin-top: 8px; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child { text-align: left; padding-left: 0; }
td:last-child, th:last-child { padding-right: 0; }
thead th { color: var(--muted); font-weight: 500; font-size: 12px; border-bottom-color: #c9ced7; }
tbody th { font-weight: 500; }
tbody tr:last-child > * { border-bottom: 0; }
figure { margin: 0; }
figure svg { display: block; width: 100%; height: auto; }
@media (max-width: 760px) { main { padding: 24px 12px; } }
@media print { body { background: #fff; } section { break-inside: avoid; } }
@CSS@
</style>
</head>
<body>
<main>
"""
