"""Puts serve_config.yaml into the RayService, word for word, so that both start the same application.

Where a folder has `serve-overrides.yaml`, that is laid over serve_config.yaml, and `serve-config.yaml` beside it is the
patch that gives the RayService the result. So an overlay can change every setting.
The PrometheusRule holds the alerts of docs/operate/alerts.yaml.

`python k8s/render.py` writes all of them; `python k8s/render.py --check` only says whether they are up to date. A
script and not kustomize: KubeRay wants the config as a string inside its own resource, kustomize reads no file outside
of its folder, and its replacements cannot turn a file into such a string without a copy of it in between.
"""

import argparse
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PROJECT_FOLDER = Path(__file__).resolve().parents[1]
SERVE_CONFIG = PROJECT_FOLDER / "serve_config.yaml"
K8S = PROJECT_FOLDER / "k8s"
RAY_SERVICE = K8S / "base" / "application" / "rayservice.yaml"
ALERTS = PROJECT_FOLDER / "docs" / "operate" / "alerts.yaml"
PROMETHEUS_RULE = K8S / "components" / "monitoring" / "prometheus-rule.yaml"
OVERRIDES, PATCH = "serve-overrides.yaml", "serve-config.yaml"

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


def patch(serve_config: str, overrides: str) -> str:
    """Return the patch that gives the RayService `serve_config` with `overrides` laid over it.

    Raises ValueError when an override names an application or a deployment that serve_config.yaml has not.
    """
    merged = overridden(yaml.safe_load(serve_config), yaml.safe_load(overrides))
    text = yaml.safe_dump(merged, sort_keys=False, width=120)
    return (
        f"# Made by `python k8s/render.py` from serve_config.yaml and {OVERRIDES}; edit those.\n"
        "apiVersion: ray.io/v1\nkind: RayService\nmetadata:\n  name: fleet\n  namespace: fleet-anomaly\nspec:\n"
        f"{_BLOCK_START}\n{textwrap.indent(text, _INDENT)}"
    )


def prometheus_rule(alerts: str) -> str:
    """Return the resource of the Prometheus operator that holds a rules file."""
    return (
        "# Made by `python k8s/render.py` from docs/operate/alerts.yaml; edit that.\n"
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n"
        "metadata:\n  name: fleet\n  namespace: fleet-anomaly\nspec:\n"
        + textwrap.indent(yaml.safe_dump(yaml.safe_load(alerts), sort_keys=False, width=120), "  ")
    )


def overridden(setting: Any, override: Any) -> Any:
    """Lay `override` over `setting`: mappings key by key, lists of named mappings by name, anything else as a whole."""
    if isinstance(setting, dict) and isinstance(override, dict):
        changed = {key: overridden(setting[key], value) for key, value in override.items() if key in setting}
        return {**setting, **override, **changed}
    if _is_named(setting) and _is_named(override):
        by_name = {item["name"]: item for item in override}
        if unknown := by_name.keys() - {item["name"] for item in setting}:
            raise ValueError(f"{OVERRIDES} names {', '.join(sorted(unknown))}, which serve_config.yaml has not.")
        return [overridden(item, by_name.get(item["name"], {})) for item in setting]
    return override


def _is_named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) and "name" in item for item in value) and bool(value)


def files() -> Iterator[tuple[Path, str]]:
    """Yield each file that is made from another one, with the text that it should have."""
    serve_config = SERVE_CONFIG.read_text()
    yield RAY_SERVICE, rendered(RAY_SERVICE.read_text(), serve_config)
    for overrides in sorted(K8S.rglob(OVERRIDES)):
        yield overrides.with_name(PATCH), patch(serve_config, overrides.read_text())
    yield PROMETHEUS_RULE, prometheus_rule(ALERTS.read_text())


def main() -> int:
    """Render or check. Returns 1 when the check finds a file out of date."""
    parser = argparse.ArgumentParser(description="Put serve_config.yaml and the alerts into the manifests.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a file is out of date")
    options = parser.parse_args()
    outdated = [(file, text) for file, text in files() if not file.is_file() or file.read_text() != text]
    for file, text in outdated:
        if options.check:
            place = file.relative_to(PROJECT_FOLDER)
            sys.stderr.write(f"{place} does not hold what it is made from: run `python k8s/render.py`.\n")
        else:
            file.write_text(text)
    return 1 if options.check and outdated else 0


if __name__ == "__main__":
    sys.exit(main())
