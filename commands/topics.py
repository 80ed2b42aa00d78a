"""`fleet topics`: create the topics, or say how existing ones differ from the settings."""

from pathlib import Path
from typing import Annotated

import typer

from fleet.kafka import bootstrap_servers, ensure_topics
from launch.serve_config import CONFIG_FILE, configured_settings


def topics(
    config: Annotated[Path, typer.Option(help="The Serve config that the settings come from.")] = CONFIG_FILE,
) -> None:
    """Create missing topics, and say how existing ones differ from the settings."""
    settings = configured_settings(config)
    differences = ensure_topics(settings.kafka)
    for sentence in differences:
        print(sentence)
    names = ", ".join(settings.kafka.topics.model_dump().values())
    print(f"{bootstrap_servers()} has {names} with {settings.kafka.partitions} partitions each.")
