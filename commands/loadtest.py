"""`fleet loadtest`: put load on a running system, measure what comes out, and judge it by thresholds."""

import secrets
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import typer

from commands.stopping import StopFlag
from fleet.errors import SettingsError
from fleet.settings import TopicNames
from loadtest.client_plan import MOST_REQUESTS, ClientPlan, Requests
from loadtest.generator import MOST_EVENTS, Load
from loadtest.profile import Shape, make_profile
from loadtest.report import describe
from loadtest.run import Outcome, run_load_test
from loadtest.thresholds import Thresholds, read_thresholds, refuse_unmeasured
from loadtest.verdict import State, Verdict, judge

FAILED, GENERATOR_TOO_SLOW = 1, 3  # 2 is what a wrong option ends with
_EVENTS, _REQUESTS, _FEED, _JUDGING = "Events to Kafka", "Requests", "Live feed", "Judging"
_TOPICS = TopicNames()

_Rate = Annotated[
    float,
    typer.Option(min=0, max=10_000_000, rich_help_panel=_EVENTS, help="Events per second at the peak; 0 sends none."),
]
_Profile = Annotated[
    Literal["constant", "ramp", "step", "spike", "day"],
    typer.Option(rich_help_panel=_EVENTS, help="How the rates rise to their peak and fall, of events and of requests."),
]
_Base = Annotated[
    float,
    typer.Option(
        min=0, max=1, rich_help_panel=_EVENTS, help="The rate at which a profile begins, as a share of its peak."
    ),
]
_Vehicles = Annotated[
    int,
    typer.Option(min=1, max=10_000_000, rich_help_panel=_EVENTS, help="How many vehicles the events come from."),
]
_Seconds = Annotated[
    float, typer.Option(min=0.1, max=86_400, rich_help_panel=_EVENTS, help="How many seconds to send.")
]
_Processes = Annotated[
    int, typer.Option(min=1, max=256, rich_help_panel=_EVENTS, help="How many processes send events.")
]
_Seed = Annotated[int, typer.Option(min=0, rich_help_panel=_EVENTS, help="The same seed gives the same vehicles.")]
_Gateway = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=_REQUESTS,
        help="Address of the gateway, as http://localhost:8000. Lag and replicas are read there, too.",
    ),
]
_PredictRate = Annotated[
    float,
    typer.Option(min=0, max=100_000, rich_help_panel=_REQUESTS, help="Requests to /predict per second at the peak."),
]
_PredictClients = Annotated[
    int, typer.Option(min=1, max=10_000, rich_help_panel=_REQUESTS, help="How many clients send these requests.")
]
_ScoreRate = Annotated[
    float,
    typer.Option(min=0, max=10_000, rich_help_panel=_REQUESTS, help="Requests to /v1/score per second at the peak."),
]
_ScoreEvents = Annotated[
    int, typer.Option(min=1, max=10_000, rich_help_panel=_REQUESTS, help="How many events each of these has.")
]
_ScoreClients = Annotated[
    int, typer.Option(min=1, max=10_000, rich_help_panel=_REQUESTS, help="How many clients send these requests.")
]
_ClientProcesses = Annotated[
    int, typer.Option(min=1, max=64, rich_help_panel=_REQUESTS, help="How many processes share all clients.")
]
_FeedClients = Annotated[
    int, typer.Option(min=0, max=20_000, rich_help_panel=_FEED, help="How many WebSocket clients take every event.")
]
_FeedQuery = Annotated[
    str,
    typer.Option(rich_help_panel=_FEED, help="The query that they ask with; an empty one gets one event per frame."),
]
_Websocket = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=_FEED,
        help="Address for one more client, which checks every event: ws://localhost:8000/ws/telemetry?batch=true.",
    ),
]
_DrainS = Annotated[
    float,
    typer.Option(min=0.1, max=600, rich_help_panel=_JUDGING, help="Give up after so many seconds without arrivals."),
]
_Thresholds = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=_JUDGING, help="File of limits to hold the results against, as loadtest/thresholds.toml."
    ),
]
_Report = Annotated[
    Path | None, typer.Option(rich_help_panel=_JUDGING, help="Write a page of plots to this .html file.")
]
_TelemetryTopic = Annotated[str, typer.Option(rich_help_panel=_EVENTS, help="The topic to send to.")]
_ScoredTopic = Annotated[str, typer.Option(rich_help_panel=_EVENTS, help="The topic that verdicts are read from.")]


def loadtest(
    rate: _Rate = 10_000,
    profile: _Profile = "constant",
    base: _Base = 0.1,
    vehicles: _Vehicles = 10_000,
    seconds: _Seconds = 30,
    processes: _Processes = 1,
    seed: _Seed = 7,
    gateway: _Gateway = None,
    predict_rate: _PredictRate = 0,
    predict_clients: _PredictClients = 32,
    score_rate: _ScoreRate = 0,
    score_events: _ScoreEvents = 1_000,
    score_clients: _ScoreClients = 8,
    client_processes: _ClientProcesses = 1,
    feed_clients: _FeedClients = 0,
    feed_query: _FeedQuery = "batch=true",
    websocket: _Websocket = None,
    drain_s: _DrainS = 10,
    thresholds: _Thresholds = None,
    report: _Report = None,
    telemetry_topic: _TelemetryTopic = _TOPICS.telemetry,
    scored_topic: _ScoredTopic = _TOPICS.scored,
) -> None:
    """Send at an open-loop rate and report rates, latencies, losses and duplicates: of events, requests and the feed.

    When each event and request is due is fixed beforehand; latency counts from then, not from when it could be sent.
    Kafka is where KAFKA_BOOTSTRAP_SERVERS says. Exit status 1 when an event was lost, doubled or reordered, a
    request failed, or a threshold was not kept; with --thresholds, 3 when the load test itself was too slow to tell.
    """
    load = Load(secrets.token_hex(4), rate, vehicles, seconds, telemetry_topic, seed, profile, base * rate, processes)
    predict = _requests("predict", profile, predict_rate, base, seconds, predict_clients, 1)
    score = _requests("score", profile, score_rate, base, seconds, score_clients, score_events)
    plan = ClientPlan(
        _address(gateway), load.run, seconds, predict, score, feed_clients, feed_query, client_processes, seed
    )
    limits = read_thresholds(thresholds) if thresholds else None
    _refuse(load, plan, websocket, limits)
    outcome = _run(load, plan, scored_topic, websocket, drain_s)
    _tell(outcome, judge(outcome, limits) if limits else None, report)


def _address(gateway: str | None) -> str:
    if gateway is None:
        return ""
    parts = urlsplit(gateway)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise typer.BadParameter(f"{gateway} is no http:// or https:// address.", param_hint="--gateway")
    return gateway.rstrip("/")


def _requests(
    name: str, shape: Shape, rate: float, base: float, seconds: float, clients: int, events: int
) -> Requests | None:
    if not rate:
        return None
    profile = make_profile(shape, rate, base * rate, seconds)
    if profile.events > MOST_REQUESTS:
        raise SettingsError(
            f"These would be {profile.events:,} requests of /{name}, and one test has at most {MOST_REQUESTS:,}: "
            f"lower --{name}-rate or --seconds."
        )
    return Requests(profile.times_s, profile.rates, clients, events)


def _refuse(load: Load, plan: ClientPlan, websocket: str | None, limits: Thresholds | None) -> None:
    """Raise SettingsError for a test that would be too large, measure nothing, or leave a threshold unmeasured."""
    if load.events > MOST_EVENTS:
        raise SettingsError(
            f"These would be {load.events:,} events, and one test has at most {MOST_EVENTS:,}: "
            "lower --rate or --seconds."
        )
    if not load.events and plan.is_empty:
        raise SettingsError("There is nothing to send: give --rate, --predict-rate, --score-rate or --feed-clients.")
    if not plan.is_empty and not plan.gateway:
        raise SettingsError("Requests and feed clients need the gateway's address: give --gateway.")
    measured = {
        "scored": bool(load.events),
        "websocket": websocket is not None,
        "feed": bool(plan.feed_clients),
        "pipeline": bool(plan.gateway),
        **{name: name in plan.requests for name in ("predict", "score")},
    }
    if limits:
        refuse_unmeasured(limits, frozenset(name for name, is_measured in measured.items() if is_measured))


def _run(load: Load, plan: ClientPlan, scored_topic: str, websocket: str | None, drain_s: float) -> Outcome:
    clients = None if plan.is_empty else plan
    with StopFlag() as stop:
        return run_load_test(load, scored_topic, websocket, drain_s, stop, typer.echo, clients, plan.gateway or None)


def _tell(outcome: Outcome, verdict: Verdict | None, page: Path | None) -> None:
    """Print what came out and write the page. Raises typer.Exit with the status."""
    for line in describe(outcome, verdict):
        typer.echo(line)
    if page:
        _write(outcome, verdict, page)
    if status := _status(outcome, verdict):
        raise typer.Exit(status)


def _write(outcome: Outcome, verdict: Verdict | None, file: Path) -> None:
    from loadtest.page import write_page  # matplotlib takes a while: not for every test

    file.parent.mkdir(parents=True, exist_ok=True)
    write_page(outcome, verdict, shlex.join(["fleet", *sys.argv[1:]]), file)
    typer.echo(f"{file} shows it")


def _status(outcome: Outcome, verdict: Verdict | None) -> int:
    if verdict is None:
        return 0 if outcome.is_clean else FAILED
    return {State.PASSED: 0, State.GENERATOR_TOO_SLOW: GENERATOR_TOO_SLOW}.get(verdict.state, FAILED)
