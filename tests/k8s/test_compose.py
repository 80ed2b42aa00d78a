"""docker-compose.yml: of one mind with the rest of the house."""

import re

import typer

import fleet.kafka
from tests.k8s.manifests import K8S, ROOT, compose, pod_specs


def commands() -> list[list[str]]:
    services = compose()["services"]
    return [
        services["application"]["command"],
        services["simulator"]["command"],
        pod_specs()["simulator"]["spec"]["containers"][0]["command"],
    ]


def test_compose_serves_the_config_of_this_house() -> None:
    serve, simulate, simulate_on_kubernetes = commands()
    assert serve == ["serve", "run", "serve_config.yaml"]
    assert simulate == simulate_on_kubernetes == ["fleet", "simulate", "--vehicles", "1000"]


def test_fleet_knows_the_commands_that_containers_run() -> None:
    from commands.main import commands as fleet_commands

    group = typer.main.get_command(fleet_commands)
    built = re.search(r"\bfleet (\w+)$", (K8S / "Dockerfile").read_text(), re.MULTILINE)
    assert built is not None
    assert {"simulate", built[1]} <= set(group.commands)
    options = {option for parameter in group.commands["simulate"].params for option in parameter.opts}
    assert "--vehicles" in options


def test_compose_starts_in_order_and_stays_in_bounds() -> None:
    services = compose()["services"]
    assert services["application"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert services["simulator"]["depends_on"] == {"application": {"condition": "service_healthy"}}
    assert "shm_size" in services["application"]
    for name, service in services.items():
        assert service["restart"] == "unless-stopped", name
        assert "mem_limit" in service, name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_compose_kafka_is_reached_where_it_listens() -> None:
    services = compose()["services"]
    inside, outside = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    for name in ("application", "simulator"):
        assert inside == f"INSIDE://{services[name]['environment']['KAFKA_BOOTSTRAP_SERVERS']}"
    assert outside == f"OUTSIDE://{fleet.kafka.DEFAULT_BOOTSTRAP_SERVERS}"
    assert services["kafka"]["ports"] == ["127.0.0.1:9092:9092"]


def test_compose_kafka_is_the_version_of_the_local_one() -> None:
    pinned = re.search(
        r"^org\.apache\.kafka:kafka_2\.13:(\S+)", (ROOT / "simulator/kafka_jars.txt").read_text(), re.MULTILINE
    )
    assert pinned is not None
    assert compose()["services"]["kafka"]["image"] == f"apache/kafka:{pinned[1]}"
