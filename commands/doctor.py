"""`fleet doctor`: looks at everything that the system needs, and says each trouble with its mend."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import typer

from commands.tables import in_columns
from fleet.errors import FleetError
from fleet.operations.checkup import Finding, Standing, kafka_findings, model_finding
from launch.ports import PROXY_PORTS
from launch.serve_config import CONFIG_FILE, configured_settings, http_port
from simulator.local_kafka import HOST, port_is_taken

GATEWAY_TIMEOUT_S = 10.0
LONGEST_ANSWER_BYTES = 1_048_576


def doctor(
    gateway: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the gateway is. On this machine, if not given, at the config's port."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    config: Annotated[Path, typer.Option(help="The Serve config that the settings come from.")] = CONFIG_FILE,
) -> None:
    """Look at Kafka, topics, group, model, ports and gateway, and say each trouble with what mends it.

    Nothing is changed. A finding is `ok`, `look` or `trouble`. Exit status 1 when there is a trouble.
    """
    findings = list(_findings(config, gateway))
    if as_json:
        typer.echo(msgspec.json.encode({"healthy": is_healthy(findings), "findings": findings}).decode())
    else:
        _print(findings)
    if not is_healthy(findings):
        raise typer.Exit(1)


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Whether nothing is broken."""
    return all(finding.standing != Standing.TROUBLE for finding in findings)


def _findings(config: Path, gateway: str | None) -> Iterator[Finding]:
    try:
        settings, port = configured_settings(config), http_port(config)
    except FleetError as wrong:
        yield Finding("settings", Standing.TROUBLE, str(wrong), f"correct {config.name}")
        return
    yield Finding("settings", Standing.OK, f"{config.name} can be read.")
    yield from kafka_findings(settings.kafka)
    yield model_finding(settings.model)
    url = gateway or f"http://{HOST}:{port}"
    answered = gateway_finding(url)
    yield answered
    if answered.standing != Standing.OK and gateway is None:
        yield from _port_findings(port)


def gateway_finding(url: str) -> Finding:
    """Ask the gateway whether it is ready, and what is not. Raises FleetError for what is no address."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise FleetError(f"--gateway {url} is no address: give one as http://host:8000.")
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=GATEWAY_TIMEOUT_S) as answer:
            answer.read(LONGEST_ANSWER_BYTES)
            return Finding("gateway", Standing.OK, f"{url} is ready.")
    except urllib.error.HTTPError as refusal:
        return _refused(url, refusal)
    except (OSError, ValueError):
        mend = "start the application, or name its gateway: --gateway http://host:8000"
        return Finding("gateway", Standing.TROUBLE, f"{url} does not answer.", mend)


def _refused(url: str, refusal: urllib.error.HTTPError) -> Finding:
    try:
        says = str(json.loads(refusal.read(LONGEST_ANSWER_BYTES))["detail"])
    except (OSError, ValueError, LookupError, TypeError):
        says = f"{url}/health answered {refusal.code}: that is no gateway of ours, or none is running behind it."
    return Finding("gateway", Standing.TROUBLE, says, "mend the part that it names; its log says more")


def _port_findings(page_port: int) -> Iterator[Finding]:
    """Where no gateway answers here: say which ports somebody else holds."""
    if port_is_taken(page_port):
        says = f"Port {page_port} is taken by something that is no gateway."
        yield Finding("ports", Standing.TROUBLE, says, "end what listens there, or change http_options.port")
    for name, port in PROXY_PORTS.items():
        if not port_is_taken(port):
            continue
        says = f"Port {port}, which HAProxy takes by itself, is taken."
        yield Finding("ports", Standing.LOOK, says, f"`fleet run` takes another; by hand, set {name} to another port")


def _print(findings: Sequence[Finding]) -> None:
    for line in in_columns([(finding.standing.value, finding.part, finding.says) for finding in findings]):
        typer.echo(line)
    troubles = [finding for finding in findings if finding.mend]
    if troubles:
        typer.echo("\nWhat mends it:")
        for line in in_columns([(finding.part, finding.mend) for finding in troubles]):
            typer.echo(f"  {line}")
    else:
        typer.echo("\nAll is well.")
