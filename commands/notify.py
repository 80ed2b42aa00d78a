"""`fleet notify`: tells another system of episodes, by POST requests to an address."""

import os
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from commands.stopping import StopFlag
from fleet.operations.notices import EpisodeChanges, NoticeFilter, Notifier, Webhook
from launch.serve_config import CONFIG_FILE, configured_settings

SECRET_VARIABLE: Final = "FLEET_WEBHOOK_SECRET"
SECRET_MEANING: Final = "What `fleet notify` signs its requests with. Without it they are not signed."


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise typer.BadParameter(f"{text!r} is no address: give one as https://host/path.")
    return text


_Url = Annotated[Any, typer.Argument(parser=_address, metavar="URL", help="Where notices are sent.")]
_Severity = Annotated[float, typer.Option(min=0, max=1, help="Tell of episodes that are at least so severe.")]
_Causes = Annotated[list[str] | None, typer.Option("--cause", help="Tell of this cause; may be given several times.")]
_Hours = Annotated[float, typer.Option(min=0, help="A notice that nobody takes for so long is given up.")]
_Config = Annotated[Path, typer.Option(help="The Serve config that the settings come from.")]


def notify(
    url: _Url,
    min_severity: _Severity = 0.0,
    causes: _Causes = None,
    give_up_after_hours: _Hours = 24.0,
    config: _Config = CONFIG_FILE,
) -> None:
    """Tell another system of episodes: each that begins or ends becomes one POST request.

    A request that is not taken is sent again, later and later, and those after it wait. An answer of 4xx ends it,
    except for 408, 425 and 429. Run one of these for each address: two would tell everything twice.
    """
    settings = configured_settings(config)
    wanted = NoticeFilter(min_severity, frozenset(causes) if causes else None)
    webhook = Webhook(url, os.environ.get(SECRET_VARIABLE, ""))
    notifier = Notifier(
        settings.kafka, EpisodeChanges(wanted), webhook, given_up_after_s=give_up_after_hours * 3600
    )  # fmt: skip
    with StopFlag() as stopping:
        notifier.run(stopping, lambda sentence: typer.echo(sentence, err=True))
    typer.echo(", ".join(f"{count:,} {name}" for name, count in sorted(notifier.counts.items())) or "Nothing was sent.")
