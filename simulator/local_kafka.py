"""A real Apache Kafka for one laptop: one KRaft node, broker and controller in one, on 127.0.0.1 only.

Neighbours: `kafka_distribution` brings the jars and the Java; `commands/kafka.py` runs it in the foreground; the
tests use it as their broker. Everything of one broker lies in one folder: `data/` (the log), `server.properties` and
`log4j2.properties` (written at every start), `kafka.log` and `output.log`. The broker's working directory is that
folder and every path in its settings is relative, so no character of the folder's name needs escaping.
"""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, Self

from fleet.errors import LocalServiceError
from simulator.kafka_distribution import Say, ensure_jars, find_java, kafka_version, read_jar_list, silent

HOST = "127.0.0.1"
DEFAULT_PORT = 9092
START_TIMEOUT_S = 120.0  # a full machine takes many times as long as an idle one
STOP_TIMEOUT_S = 20.0
FOLDER_WAIT_S = 20.0  # a broker whose parent was killed needs some seconds to leave
POLL_INTERVAL_S = 0.05
LOG_LINES_SHOWN = 15

# The broker must not outlive the process that started it, whatever kills that one. The kernel's parent-death signal
# is set between fork and exec by this small program (a preexec_fn would run Python in a forked, threaded process);
# where the system has none (macOS) a killed parent leaves its broker behind. SIGTERM lets Kafka close its log.
DIE_WITH_PARENT = """
import os, signal, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent has gone")
os.execv(sys.argv[2], sys.argv[2:])
"""

# Small and quick to start; a laptop's broker holds little. G1 keeps pauses short at some 100 MB/s on two cores.
JVM_OPTIONS = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:-UsePerfData",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
    "-Dlog4j2.configurationFile=log4j2.properties",
)

# The formatting tool lives for a second: the second compiler and a parallel collector would not pay.
SHORT_LIVED_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xmx128m")

# One node, so every internal topic has one replica; few partitions, so that a start creates little. Retention bounds
# a laptop's disk: 24 h or 256 MiB a partition, unless a topic says otherwise. After a crash the controller refuses the
# broker until the session of its former life has ended, so it is short; on a full machine a shorter one would end by
# itself. A group may have shorter sessions than Kafka's default allows.
SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}{proxied_listener}
advertised.listeners=PLAINTEXT://{host}:{port}{advertised_proxy}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=500
log.dirs=data
auto.create.topics.enable=false
delete.topic.enable=true
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=2000
num.network.threads=2
num.io.threads=4
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=16777216
log.retention.hours=24
log.retention.bytes=268435456
log.segment.bytes=67108864
log.retention.check.interval.ms=60000
"""

# Bounded: at most 3 files of 5 MB.
LOGGING = """\
status=error
appender.file.type=RollingFile
appender.file.name=file
appender.file.fileName=kafka.log
appender.file.filePattern=kafka.log.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=[%d] %p %m (%c{1})%n%throwable
appender.file.policies.type=Policies
appender.file.policies.size.type=SizeBasedTriggeringPolicy
appender.file.policies.size.size=5MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=2
rootLogger.level=info
rootLogger.appenderRef.file.ref=file
"""


def default_home() -> Path:
    """Return the project's own folder for local Kafka (ignored by git): `.fleet/kafka` beside pyproject.toml."""
    root = Path(__file__).resolve().parent.parent
    return (root if (root / "pyproject.toml").exists() else Path.cwd()) / ".fleet" / "kafka"


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_taken(port: int) -> bool:
    """Whether somebody listens on the port of 127.0.0.1 (or of every address)."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as Java does: a closed connection's rest is no obstacle
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


class ProxyPorts(NamedTuple):
    """A second way in: who comes by `broker` is told to come back by `advertised`, where a proxy listens."""

    broker: int
    advertised: int


class LocalKafka:
    """One broker in one folder. `start()` returns when it answers; leaving the context stops it.

    `port=None` takes a free port at the first start and keeps it for later starts of the same object. The data of
    an earlier run in the same folder is kept. Any number of brokers may run at once, in folders of their own.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        jars_folder: Path | None = None,
        say: Say = silent,
        start_timeout_s: float = START_TIMEOUT_S,
        proxy: ProxyPorts | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.jars_folder = (jars_folder or default_home() / "jars").absolute()
        self.start_seconds = 0.0
        self._port = port
        self._proxy = proxy
        self._say = say
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The port of the broker; raises LocalServiceError before the first start when none was given."""
        if self._port is None:
            raise LocalServiceError(f"The Kafka in {self.folder} has no port before its first start: start it.")
        return self._port

    @property
    def bootstrap_servers(self) -> str:
        """What a client's `bootstrap.servers` needs."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id of the running broker, None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log_file(self) -> Path:
        """The broker's own log."""
        return self.folder / "kafka.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Fetch what is missing, format the folder at the first start, start the broker, wait until it answers.

        Raises LocalServiceError: the port is taken, the folder is in use, Java or the jars cannot be had, or the
        broker did not come up in time (with the last lines of its log).
        """
        if self.pid is not None:
            return
        self._choose_port()
        jars = ensure_jars(self.jars_folder, say=self._say)
        java = find_java()
        began = time.monotonic()
        self._say(f"Starting Apache Kafka {kafka_version(read_jar_list())} on Java {java.version} ({java.origin})")
        class_path = ["-cp", os.pathsep.join(map(str, jars))]
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._folder_lock() as lock:
            self._write_settings()
            self._format([str(java.program), *SHORT_LIVED_OPTIONS, *class_path])
            broker = [str(java.program), *JVM_OPTIONS, *class_path, "kafka.Kafka", "server.properties"]
            self._process = self._spawn(broker, lock)
        try:
            self._wait_until_ready(began + self._start_timeout_s)
        except BaseException:
            self.kill()
            raise
        self.start_seconds = time.monotonic() - began

    def stop(self) -> None:
        """Let the broker close its log and leave; kill it when it does not within 20 s. Safe to call twice."""
        self._end(signal.SIGTERM, STOP_TIMEOUT_S)

    def kill(self) -> None:
        """End the broker at once, as a crash would (SIGKILL)."""
        self._end(signal.SIGKILL, STOP_TIMEOUT_S)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the broker to end by itself; returns its exit status, or None when `timeout_s` passed first."""
        if self._process is None:
            return None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def last_log_lines(self, count: int = LOG_LINES_SHOWN) -> str:
        """Return the end of what the broker and its Java have written, for an error message."""
        return "\n".join(_last_lines(self.folder / "output.log", count) + _last_lines(self.log_file, count))

    def _choose_port(self) -> None:
        if self._port is None:
            self._port = free_port()
        elif port_is_taken(self._port):
            raise LocalServiceError(
                f"Port {self._port} of {HOST} is taken by another program, so Kafka cannot listen there: "
                "end that program, or choose another port (0 takes a free one)."
            )

    @contextlib.contextmanager
    def _folder_lock(self) -> Iterator[IO[str]]:
        """Hold the folder for one broker; the open file is handed to it, so the lock lives as long as it does."""
        with (self.folder / "lock").open("a") as lock:
            deadline = time.monotonic() + FOLDER_WAIT_S
            while not _try_lock(lock):
                if time.monotonic() > deadline:
                    raise LocalServiceError(
                        f"Another Kafka uses {self.folder}: end it, or choose another folder for this one."
                    )
                time.sleep(POLL_INTERVAL_S)
            yield lock

    def _write_settings(self) -> None:
        controller_port = next(port for port in iter(free_port, None) if port != self._port)
        settings = SETTINGS.format(
            host=HOST,
            port=self._port,
            controller_port=controller_port,
            proxied_listener=f",PROXIED://{HOST}:{self._proxy.broker}" if self._proxy else "",
            advertised_proxy=f",PROXIED://{HOST}:{self._proxy.advertised}" if self._proxy else "",
        )
        (self.folder / "server.properties").write_text(settings, encoding="utf-8")
        (self.folder / "log4j2.properties").write_text(LOGGING, encoding="utf-8")
        (self.folder / "output.log").write_bytes(b"")

    def _format(self, command: list[str]) -> None:
        """Give an empty folder its cluster id; a folder that has one is left as it is."""
        if (self.folder / "data" / "meta.properties").exists():
            return
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # In one argument: one id in 64 begins with a dash, and would stand there as an option of its own.
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "--ignore-formatted"]
        answer = subprocess.run(
            [*command, *tool, "--config", "server.properties"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=self._start_timeout_s,
            check=False,
        )
        if answer.returncode != 0:
            reason = (answer.stderr or answer.stdout).strip().splitlines()[-1:]
            raise LocalServiceError(
                f"Kafka could not format {self.folder / 'data'} ({' '.join(reason)}): "
                "remove that folder and start again."
            )

    def _spawn(self, command: list[str], lock: IO[str]) -> subprocess.Popen[bytes]:
        """Start the broker from a thread that waits for its end.

        The kernel sends the parent-death signal when the *thread* that forked ends, not its process: a caller's
        short-lived thread would take the broker with it.
        """
        started: list[subprocess.Popen[bytes] | OSError] = []
        ready = threading.Event()

        def run() -> None:
            try:
                started.append(self._open_process(command, lock))
            except OSError as error:
                started.append(error)
            ready.set()
            if isinstance(started[0], subprocess.Popen):
                started[0].wait()

        threading.Thread(target=run, name="local-kafka", daemon=True).start()
        ready.wait()
        if isinstance(started[0], OSError):
            raise LocalServiceError(f"The Java at {command[0]} could not be started: {started[0]}.") from started[0]
        return started[0]

    def _open_process(self, command: list[str], lock: IO[str]) -> subprocess.Popen[bytes]:
        wrapper = [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, str(os.getpid())]
        with (self.folder / "output.log").open("ab") as output:
            return subprocess.Popen(
                [*wrapper, *command],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,  # a Ctrl-C in the terminal reaches us, and we stop the broker in good order
                pass_fds=(lock.fileno(),),
            )

    def _wait_until_ready(self, deadline: float) -> None:
        """Return when the broker answers a metadata request; raise LocalServiceError when it ends or is too slow."""
        while not self._answers(max(deadline - time.monotonic(), POLL_INTERVAL_S)):
            status = self.wait(POLL_INTERVAL_S)
            if status is not None or time.monotonic() > deadline:
                what = f"ended with status {status}" if status is not None else "did not answer in time"
                raise LocalServiceError(
                    f"Kafka in {self.folder} {what}; read the end of its log, mend the cause or remove the folder, "
                    f"and start again:\n{self.last_log_lines()}"
                )

    def _answers(self, timeout_s: float) -> bool:
        """Make a real metadata request, but only once somebody listens, so that the client has nothing to log."""
        with socket.socket() as probe:
            if probe.connect_ex((HOST, self.port)) != 0:
                return False
        from fleet.kafka import KafkaException, admin_client  # loaded while the broker starts

        try:
            client = admin_client({"KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers})
            return bool(client.list_topics(timeout=min(timeout_s, 5.0)).brokers)
        except KafkaException:
            return False

    def _end(self, with_signal: signal.Signals, timeout_s: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(with_signal)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._say(f"Kafka did not leave within {timeout_s:.0f} s and is killed")
            process.kill()
            process.wait()


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _last_lines(path: Path, count: int) -> list[str]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 65536, 0))
        return file.read().decode(errors="replace").splitlines()[-count:]
