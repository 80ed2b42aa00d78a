"""Puts serve_config.yaml into the RayService, word for word, so that both start the same application.

`python k8s/render.py` writes the block; `python k8s/render.py --check` only says whether it is up to date. A script
and not kustomize: KubeRay wants the config as a string inside its own resource, kustomize reads no file outside of
its folder, and its replacements cannot turn a file into such a string without a copy of it in between.
"""

import argparse
import sys
import textwrap
from pathlib import Path

import yaml

PROJECT_FOLDER = Path(__file__).resolve().parents[1]
SERVE_CONFIG = PROJECT_FOLDER / "serve_config.yaml"
RAY_SERVICE = PROJECT_FOLDER / "k8s" / "base" / "application" / "rayservice.yaml"

_BLOCK_START = "  serveConfigV2: |"
_INDENT = "    "


def rendered(manifest: str, serve_config: str) -> str:
    """Return the manifest with `serve_config` as its `serveConfigV2`; everything else stays as it is.

    Raises ValueError when the manifest has no such block, or when the block would not read back as the config.
    """
    lines = manifest.splitlines()
    if lines.count(_BLOCK_START) != 1:
        raise ValueError(f"The RayService must have one line `{_BLOCK_START.strip()}`: restore it.")
    start = lines.index(_BLOCK_START) + 1
    end = _end_of_block(lines, start)
    block = textwrap.indent(serve_config, _INDENT).splitlines()
    result = "\n".join([*lines[:start], *block, *lines[end:]]) + "\n"
    if yaml.safe_load(result)["spec"]["serveConfigV2"] != serve_config:
        raise ValueError(
            "serve_config.yaml does not survive as a YAML block: begin it at the margin, end it with one line feed, "
            "and leave no blanks on empty lines."
        )
    return result


def _end_of_block(lines: list[str], start: int) -> int:
    """Find the first line after `start` that is neither blank nor indented as deep as the block."""
    for number, line in enumerate(lines[start:], start):
        if line and not line.startswith(_INDENT):
            return number
    return len(lines)


def main() -> int:
    """Render or check. Returns 1 when the check finds the manifest out of date."""
    parser = argparse.ArgumentParser(description="Put serve_config.yaml into the RayService manifest.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail when it is out of date")
    options = parser.parse_args()
    before = RAY_SERVICE.read_text()
    after = rendered(before, SERVE_CONFIG.read_text())
    if before == after:
        return 0
    if options.check:
        sys.stderr.write(
            f"{RAY_SERVICE.name} does not hold serve_config.yaml as it is now: run `python k8s/render.py`.\n"
        )
        return 1
    RAY_SERVICE.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
