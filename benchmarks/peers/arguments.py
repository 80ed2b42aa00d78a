"""What every peer's program is told on its command line."""

import argparse
from dataclasses import dataclass
from pathlib import Path

# As the product and the floor have it under backlog.
COMMIT_INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True)
class Arguments:
    """Where to read and write, as whom, and with which bundles (None: without a model)."""

    bootstrap_servers: str
    telemetry: str
    scored: str
    group_id: str
    models: Path | None


def read_arguments() -> Arguments:
    """Parse the command line."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap-servers", "telemetry", "scored", "group-id"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--models", type=Path)
    return Arguments(**vars(parser.parse_args()))
