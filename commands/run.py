"""`fleet run`: the whole system in the foreground, on one machine, until Ctrl-C.

Starts the parts in order (Kafka, topics, model, Serve, simulator), says what is ready, and stops them in the reverse
order. Every part runs in a session of its own, so that the terminal's Ctrl-C reaches this process alone, and under
`launch.supervised`, which ends it even when this process dies without having done so.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Annotated

import msgspec
import typer
import yaml

from commands.first_model import ensure_model
from commands.stopping import ends_with_its_terminal, stop_signals
from fleet import kafka
from fleet.access.listening import check_listener, is_loopback
from fleet.errors import KafkaUnavailableError, LocalServiceError
from fleet.settings import PROJECT_FOLDER, Settings, read_settings
from launch import supervised
from launch.logs import end_of
from launch.ports import other_proxy_ports
from launch.ray_environment import ray_environment
from launch.serve_config import (
    CONFIG_FILE,
    arguments_of,
    configured_settings,
    http_port,
    listening_on,
    read_serve_config,
)
from simulator.local_kafka import DEFAULT_PORT, HOST, LocalKafka, port_is_taken

DASHBOARD = "http://127.0.0.1:8265"
RUN_FOLDER = PROJECT_FOLDER / ".fleet"
SERVE_LOG = "serve.log"
READY_TIMEOUT_S = 180.0
PRIVATE = 0o077  # what the parts write is for this user alone
STOP_TIMEOUT_S = 60.0  # above what the supervisor allows


_said_dashboard = re.compile(r"dashboard at \S*(http://[\w.]+:\d+)").search


class _StoppedError(BaseException):
    """Somebody asked this command to end."""


def run(
    vehicles: Annotated[int, typer.Option(min=0, help="How many vehicles to simulate; 0 starts no simulator.")] = 1_000,
    rate_hz: Annotated[float, typer.Option(min=0.01, help="How many events each vehicle sends per second.")] = 1.0,
    config: Annotated[Path, typer.Option(help="The Serve config to run.")] = CONFIG_FILE,
    host: Annotated[str, typer.Option(help="The address to listen on; http_options.host is not read here.")] = HOST,
    allow_open: Annotated[
        bool, typer.Option("--allow-open", help="Let everybody in who reaches the port, also from other machines.")
    ] = False,
) -> None:
    """Run everything until Ctrl-C: Kafka, the application and a simulator.

    Kafka is not started where KAFKA_BOOTSTRAP_SERVERS names one.
    """
    for number in stop_signals():
        signal.signal(number, _stop)
    began = time.monotonic()
    try:
        with contextlib.ExitStack() as parts:
            _start(parts, vehicles, rate_hz, _config_for(config, host, allow_open=allow_open), began)
    except _StoppedError:
        _say("Everything is stopped.")


def _config_for(config: Path, host: str, *, allow_open: bool) -> Path:
    """Write the config with the address to listen on. Raises SettingsError where it would be open to strangers."""
    changed = listening_on(read_serve_config(config), host, allow_open=allow_open)
    auth = read_settings(arguments_of(changed)).auth
    check_listener(auth, host)
    if auth.mode == "none" and not is_loopback(host):
        _say(f"Note: everybody who reaches {host} may see the fleet and ask for scores (--allow-open)")
    RUN_FOLDER.mkdir(parents=True, exist_ok=True)
    file = RUN_FOLDER / config.name
    file.write_text(yaml.safe_dump(changed, sort_keys=False))
    return file


def _start(parts: contextlib.ExitStack, vehicles: int, rate_hz: float, config: Path, began: float) -> None:
    settings = configured_settings(config)
    port = http_port(config)
    _check_ports(port, config)
    environment = _start_kafka(parts, settings)
    bundle = ensure_model(settings.model.absolute_folder, settings.model.version, _say)
    _ready("Model", f"bundle {bundle.version}")
    serve = _start_serve(parts, config, environment)
    _await_health(port, serve)
    _ready("Application", f"scoring, {time.monotonic() - began:.0f} s after the start")
    running = {"the application": serve}
    if vehicles:
        running["the simulator"] = _start_simulator(parts, vehicles, rate_hz, environment)
        _ready("Simulator", f"{vehicles:,} vehicles at {rate_hz:g} Hz")
    _print_addresses(port)
    _watch(running)


def _check_ports(page_port: int, config: Path) -> None:
    """Raise LocalServiceError where somebody else holds a port that must not move: who mostly, and what to change."""
    if port_is_taken(page_port):
        raise LocalServiceError(
            f"Port {page_port} for the page is taken, usually by another `fleet run`: end what listens there, "
            f"or change http_options.port in {config.name}."
        )
    if not os.environ.get("KAFKA_BOOTSTRAP_SERVERS") and port_is_taken(DEFAULT_PORT):
        raise LocalServiceError(
            f"Port {DEFAULT_PORT} for Kafka is taken, usually by another `fleet run` or a Kafka of yours: end what "
            f"listens there, or use that Kafka: set KAFKA_BOOTSTRAP_SERVERS={HOST}:{DEFAULT_PORT}."
        )


def _start_kafka(parts: contextlib.ExitStack, settings: Settings) -> dict[str, str]:
    """Start the local Kafka, or use the given one; create the topics. Returns the environment of the other parts."""
    environment = ray_environment()
    if not os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        local = LocalKafka(RUN_FOLDER / "kafka" / "broker", DEFAULT_PORT, say=_say)
        parts.callback(_stopping, "Kafka", local.stop)
        local.start()
        environment["KAFKA_BOOTSTRAP_SERVERS"] = os.environ["KAFKA_BOOTSTRAP_SERVERS"] = local.bootstrap_servers
    _await_topics(settings)
    _ready("Kafka", f"{kafka.bootstrap_servers()}, topics with {settings.kafka.partitions} partitions")
    return environment


def _await_topics(settings: Settings) -> None:
    for _ in _every(2.0):
        try:
            for sentence in kafka.ensure_topics(settings.kafka):
                _say(f"Note: {sentence}")
        except KafkaUnavailableError as error:
            _say(f"{error} Trying again.")
        else:
            return


def _start_serve(parts: contextlib.ExitStack, config: Path, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    for name, port in other_proxy_ports(environment).items():
        _say(f"Note: HAProxy's usual port is taken, so {name}={port}")
        environment[name] = str(port)
    if (token := ray_token()).exists():
        token.chmod(0o600)  # Ray has once made it readable for everybody
    _say(f"Starting Ray and the application (log: .fleet/{SERVE_LOG})")
    command = [str(Path(sys.executable).with_name("serve")), "run", "--address", "local", str(config.absolute())]
    return _spawn(parts, "Ray and the application", command, environment, SERVE_LOG)


def _start_simulator(
    parts: contextlib.ExitStack, vehicles: int, rate_hz: float, environment: dict[str, str]
) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "commands", "simulate", "--vehicles", str(vehicles), "--rate-hz", str(rate_hz)]
    return _spawn(parts, "the simulator", command, environment, "simulator.log")


def _spawn(
    parts: contextlib.ExitStack,
    name: str,
    command: list[str],
    environment: dict[str, str],
    log_name: str,
) -> "subprocess.Popen[bytes]":
    RUN_FOLDER.mkdir(parents=True, exist_ok=True)  # with a Kafka of one's own nothing else has made it
    log: IO[bytes] = parts.enter_context((RUN_FOLDER / log_name).open("wb"))
    process = subprocess.Popen(
        [sys.executable, "-m", supervised.__name__, str(os.getpid()), *command],
        env=environment,
        cwd=PROJECT_FOLDER,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        umask=PRIVATE,  # HAProxy's admin socket lets everybody in who reaches it, and Ray's token lies in a file
    )
    parts.callback(_stopping, name, lambda: _end(process))
    return process


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask a part to end and wait; its supervisor bounds the wait and ends what is left of it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_health(port: int, serve: "subprocess.Popen[bytes]") -> None:
    """Wait until the application answers that it is ready, and say every few seconds what it is waiting for."""
    deadline_s, said = time.monotonic() + READY_TIMEOUT_S, ""
    for _ in _every(0.5):
        if serve.poll() is not None:
            raise LocalServiceError(f"The application ended while starting. {end_of(RUN_FOLDER / SERVE_LOG)}")
        ready, answer = _health(port)
        if ready:
            return
        if answer != said:
            _say(f"  waiting: {answer}")
            said = answer
        if failure := _deploy_failure():
            raise LocalServiceError(f"The application did not start: {failure}")
        if time.monotonic() > deadline_s:
            raise LocalServiceError(
                f"The application is not ready after {READY_TIMEOUT_S:.0f} s ({answer}). "
                f"{end_of(RUN_FOLDER / SERVE_LOG)}"
            )


def _health(port: int) -> tuple[bool, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
            return response.status == 200, "ready"
    except urllib.error.HTTPError as refusal:
        with contextlib.suppress(msgspec.MsgspecError, AttributeError):
            return False, str(msgspec.json.decode(refusal.read(), type=dict[str, object])["detail"])
        return False, "replicas are starting"
    except OSError:
        return False, "Ray is starting"


def _deploy_failure() -> str | None:
    """Return the sentence for which Serve refused the application, if it did."""
    for line in (RUN_FOLDER / SERVE_LOG).read_text(errors="replace").splitlines():
        for name in ("SettingsError: ", "ModelBundleError: "):
            if name in line:
                return line.split(name, 1)[1]
    return None


def _print_addresses(port: int) -> None:
    token = ray_token()
    _say(
        f"\n  page           http://localhost:{port}"
        f"\n  API            http://localhost:{port}/docs"
        f"\n  Ray dashboard  {dashboard()}"
        + (f"  (asks for the token in {token})" if token.exists() else "")
        + "\n\nCtrl-C stops everything."
    )


def ray_token() -> Path:
    """Return the file of the token that Ray's doors ask for."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))


def dashboard() -> str:
    """Return the address that Ray has said: it takes the next free port where its own is taken."""
    said = _said_dashboard((RUN_FOLDER / SERVE_LOG).read_text(errors="replace"))
    return said[1] if said else DASHBOARD


def _watch(running: "dict[str, subprocess.Popen[bytes]]") -> None:
    """Wait until a part ends by itself; that ends the others too."""
    for _ in _every(0.5):
        for name, process in running.items():
            if process.poll() is not None:
                raise LocalServiceError(f"{name} ended with status {process.returncode}: see the logs in .fleet/.")


def _every(interval_s: float) -> Iterator[None]:
    ends_with_terminal = ends_with_its_terminal()
    while True:
        if ends_with_terminal and not sys.stdout.isatty():
            # The kernel tells a terminal's end to the session's leader alone, and a `make` in that place keeps it.
            _stop(signal.SIGHUP, None)
        yield
        time.sleep(interval_s)


def _stop(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # one request is enough: stopping is not to be interrupted
    raise _StoppedError


def _stopping(name: str, stop: Callable[[], None]) -> None:
    _say(f"Stopping {name}")
    stop()


def _ready(part: str, detail: str) -> None:
    _say(f"✓ {part}: {detail}")


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone; stopping goes on
        print(line, flush=True)
