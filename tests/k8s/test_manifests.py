"""k8s/ and docker-compose.yml: valid against the schemas of their kinds, and of one mind with the rest of the house.

The schemas of Kubernetes itself come from a package; those of KubeRay, Strimzi and the Prometheus operator from
../shared/schemas, where that folder is. Overlays are rendered where kubectl or kustomize is on the PATH; what they
patch is checked in any case.
"""

import copy
import functools
import importlib.util
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import typer
import yaml

import fleet.kafka
from fleet.settings import read_settings
from launch.ray_environment import RAY_ENV, ray_variables

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
SCHEMAS = ROOT.parent / "shared" / "schemas"
KUBERNETES_VERSION = "1.37"
CRD_FILES = {
    "RayService": "ray.io_rayservices.yaml",
    "Kafka": "strimzi-kafka.yaml",
    "KafkaNodePool": "strimzi-kafkanodepool.yaml",
    "KafkaTopic": "strimzi-kafkatopic.yaml",
    "KafkaUser": "strimzi-kafkauser.yaml",
    "PodMonitor": "monitoring.coreos.com_podmonitors.yaml",
}
KUSTOMIZERS = [("kustomize", "build"), ("kubectl", "kustomize")]
OVERLAYS = ["base", "overlays/laptop", "overlays/external-kafka"]

Manifest = dict[str, Any]


# ---------------------------------------------------------------- reading


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def documents(path: Path) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def kustomizations() -> dict[Path, Manifest]:
    return {path.parent: load(path) for path in sorted(K8S.rglob("kustomization.yaml"))}


def patch_files() -> set[Path]:
    return {
        folder / patch["path"]
        for folder, kustomization in kustomizations().items()
        for patch in kustomization.get("patches", [])
    }


def manifest_files() -> list[Path]:
    yamls = set(K8S.rglob("*.yaml")) - patch_files()
    return sorted(path for path in yamls if path.name != "kustomization.yaml")


def manifests() -> list[Manifest]:
    return [document for path in manifest_files() for document in documents(path)]


def resources_under(folder: Path) -> list[Manifest]:
    """Every document that a kustomization pulls in, before its patches."""
    found = []
    for entry in kustomizations()[folder].get("resources", []):
        path = (folder / entry).resolve()
        found += resources_under(path) if path.is_dir() else documents(path)
    return found


def one(kind: str, name: str) -> Manifest:
    [found] = [m for m in manifests() if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return found


def every(kind: str) -> list[Manifest]:
    return [m for m in manifests() if m["kind"] == kind]


def label(manifest: Manifest) -> str:
    return f"{manifest['kind']}-{manifest['metadata']['name']}"


def ray_service() -> Manifest:
    return one("RayService", "fleet")


def worker_group() -> Manifest:
    return ray_service()["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]


def pod_specs() -> dict[str, Manifest]:
    cluster = ray_service()["spec"]["rayClusterConfig"]
    return {
        "head": cluster["headGroupSpec"]["template"],
        "worker": worker_group()["template"],
        "simulator": one("Deployment", "fleet-simulator")["spec"]["template"],
    }


def serve_config() -> Manifest:
    return load(ROOT / "serve_config.yaml")


def settings() -> Any:
    [application] = serve_config()["applications"]
    return read_settings(application.get("args", {}))


def compose() -> Manifest:
    return load(ROOT / "docker-compose.yml")


def pyproject() -> Manifest:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def render_module() -> ModuleType:
    """k8s/ is no package (its name is not ours to import by), so its script is loaded from its path."""
    spec = importlib.util.spec_from_file_location("render", K8S / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------- validating


def strict(schema: Any) -> Any:
    """A structural schema as the API server applies it with strict field validation: unknown fields are refused."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    result = {key: strict(part) for key, part in schema.items() if key not in {"properties", "description"}}
    if "properties" in schema:
        result["properties"] = {name: strict(part) for name, part in schema["properties"].items()}
    open_object = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if "properties" in schema and not open_object:
        result["additionalProperties"] = False
    return result


@functools.cache
def crd_validator(kind: str, api_version: str) -> jsonschema.Draft7Validator:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    crd = yaml.load((SCHEMAS / CRD_FILES[kind]).read_text(), Loader=loader)
    group, version = api_version.split("/")
    assert crd["spec"]["group"] == group
    [schema] = [v["schema"]["openAPIV3Schema"] for v in crd["spec"]["versions"] if v["name"] == version]
    schema["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return jsonschema.Draft7Validator(strict(schema))


def validate(manifest: Manifest) -> None:
    if manifest["kind"] in CRD_FILES:
        crd_validator(manifest["kind"], manifest["apiVersion"]).validate(manifest)
    else:
        kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)


def skip_without_schema(kind: str) -> None:
    if kind in CRD_FILES and not SCHEMAS.is_dir():
        pytest.skip(f"../shared/schemas is not here, and with it the schema of {kind}")


@pytest.mark.parametrize("manifest", manifests(), ids=label)
def test_manifest_is_valid(manifest: Manifest) -> None:
    skip_without_schema(manifest["kind"])
    validate(manifest)


@pytest.mark.parametrize(
    ("kind", "name", "place"),
    [
        ("Deployment", "fleet-simulator", "spec.template.spec.containers.0"),
        ("NetworkPolicy", "default-deny", "spec"),
        ("RayService", "fleet", "spec.rayClusterConfig.workerGroupSpecs.0.template.spec.containers.0"),
        ("KafkaTopic", "vehicle-telemetry", "spec"),
        ("PodMonitor", "fleet-ray", "spec.podMetricsEndpoints.0"),
    ],
)
def test_validation_refuses_a_field_that_does_not_exist(kind: str, name: str, place: str) -> None:
    skip_without_schema(kind)
    broken = copy.deepcopy(one(kind, name))
    resolve(broken, place.split("."))["replicaz"] = 1
    with pytest.raises(jsonschema.ValidationError, match="replicaz"):
        validate(broken)


@pytest.mark.parametrize(
    ("kind", "name", "place", "value"),
    [
        ("Deployment", "fleet-simulator", "spec.replicas", "one"),
        ("RayService", "fleet", "spec.rayClusterConfig.headGroupSpec.rayStartParams.num-cpus", 0),
        ("RayService", "fleet", "spec.rayClusterConfig.authOptions.mode", "password"),
        ("KafkaUser", "fleet-application", "spec.authorization.acls.0.operations.0", "Raed"),
        ("KafkaNodePool", "nodes", "spec.replicas", -1),
    ],
)
def test_validation_refuses_a_wrong_value(kind: str, name: str, place: str, value: Any) -> None:
    skip_without_schema(kind)
    broken = copy.deepcopy(one(kind, name))
    *path, last = place.split(".")
    parent = resolve(broken, path)
    parent[int(last) if isinstance(parent, list) else last] = value
    with pytest.raises(jsonschema.ValidationError):
        validate(broken)


# ---------------------------------------------------------------- kustomize


def resolve(document: Any, path: list[str]) -> Any:
    for step in path:
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


def test_every_file_is_listed_and_every_listed_file_exists() -> None:
    listed = set(patch_files())
    for folder, kustomization in kustomizations().items():
        for entry in kustomization.get("resources", []):
            path = (folder / entry).resolve()
            listed.add(path / "kustomization.yaml" if path.is_dir() else path)
    assert {path for path in listed if not path.is_file()} == set()
    entry_points = {K8S / folder / "kustomization.yaml" for folder in [*OVERLAYS, "components/monitoring"]}
    assert set(K8S.rglob("*.yaml")) - listed - entry_points == set()


def operations() -> Iterator[tuple[str, Manifest, Manifest]]:
    """Every operation of every JSON patch, with every resource that it is applied to."""
    for folder, kustomization in kustomizations().items():
        for patch in (p for p in kustomization.get("patches", []) if "target" in p):
            target = patch["target"]
            hit = [
                r
                for r in resources_under(folder)
                if r["kind"] == target["kind"]
                and r["apiVersion"].split("/")[0] == target["group"]
                and target.get("name") in (None, r["metadata"]["name"])
            ]
            assert hit, f"{folder.name}/{patch['path']} targets nothing"
            for resource in hit:
                for operation in load(folder / patch["path"]):
                    yield f"{patch['path']} {operation['path']}", resource, operation


def test_json_patches_meet_what_they_were_written_for() -> None:
    seen = 0
    for where, resource, operation in operations():
        assert operation["op"] in {"test", "replace"}, where
        found = resolve(resource, operation["path"].strip("/").split("/"))
        if operation["op"] == "test":
            assert found == operation["value"], where
        seen += 1
    assert seen > 20


def test_merge_patches_name_resources_that_exist() -> None:
    for folder, kustomization in kustomizations().items():
        known = {(r["kind"], r["metadata"]["name"]) for r in resources_under(folder)}
        for patch in (p for p in kustomization.get("patches", []) if "target" not in p):
            changed = load(folder / patch["path"])
            assert (changed["kind"], changed["metadata"]["name"]) in known


def rendered_overlay(folder: Path) -> list[Manifest]:
    found = [(path, verb) for tool, verb in KUSTOMIZERS if (path := shutil.which(tool))]
    if not found:
        pytest.skip("neither kustomize nor kubectl is on the PATH")
    built = subprocess.run([*found[0], folder], capture_output=True, text=True, timeout=60, check=False)
    assert built.returncode == 0, built.stderr
    return [document for document in yaml.safe_load_all(built.stdout) if document]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_rendered_overlay_is_valid(overlay: str) -> None:
    rendered = rendered_overlay(K8S / overlay)
    assert len(rendered) == len(resources_under(K8S / overlay))
    image = compose()["services"]["application"]["image"]
    for manifest in rendered:
        if manifest["kind"] != "Namespace":
            assert manifest["metadata"]["namespace"] == "fleet-anomaly", label(manifest)
        if manifest["kind"] not in CRD_FILES or SCHEMAS.is_dir():
            validate(manifest)
    [service] = [m for m in rendered if m["kind"] == "RayService"]
    cluster = service["spec"]["rayClusterConfig"]
    templates = [cluster["headGroupSpec"]["template"], cluster["workerGroupSpecs"][0]["template"]]
    assert {t["spec"]["containers"][0]["image"] for t in templates} == {image}
    assert service["spec"]["serveConfigV2"] == (ROOT / "serve_config.yaml").read_text()


# ---------------------------------------------------------------- the Serve config


def test_rayservice_holds_serve_config_word_for_word() -> None:
    held = ray_service()["spec"]["serveConfigV2"]
    assert held == (ROOT / "serve_config.yaml").read_text(), "run `python k8s/render.py`"


def test_render_replaces_only_its_block() -> None:
    manifest = (K8S / "base/application/rayservice.yaml").read_text()
    config = "# a comment\napplications:\n\n  - name: other\n"
    changed = render_module().rendered(manifest, config)
    before, after = yaml.safe_load(manifest), yaml.safe_load(changed)
    assert after["spec"].pop("serveConfigV2") == config
    before["spec"].pop("serveConfigV2")
    assert after == before
    assert render_module().rendered(changed, (ROOT / "serve_config.yaml").read_text()) == manifest


@pytest.mark.parametrize("config", ["  a: 1\n", "a: 1\n\n", "a: 1\n   \nb: 2\n", "a: 1"])
def test_render_refuses_a_config_that_a_block_would_change(config: str) -> None:
    manifest = (K8S / "base/application/rayservice.yaml").read_text()
    with pytest.raises(ValueError, match="does not survive"):
        render_module().rendered(manifest, config)


def test_render_refuses_a_manifest_without_its_block() -> None:
    with pytest.raises(ValueError, match="serveConfigV2"):
        render_module().rendered("kind: RayService\n", "applications: []\n")


def test_serve_port_is_the_same_everywhere() -> None:
    config = serve_config()
    port = config["http_options"]["port"]
    assert config["http_options"]["host"] == "0.0.0.0"
    # Workers are ready when their own proxy answers, so every node with a replica must have one.
    assert config["proxy_location"] == "EveryNode"
    containers = [pod_specs()[role]["spec"]["containers"][0] for role in ("head", "worker")]
    assert [p["containerPort"] for c in containers for p in c["ports"] if p["name"] == "serve"] == [port] * 2
    assert containers[1]["readinessProbe"]["httpGet"]["port"] == port
    assert one("NetworkPolicy", "gateway")["spec"]["ingress"][0]["ports"] == [{"port": port, "protocol": "TCP"}]
    application = compose()["services"]["application"]
    assert [published.split(":")[-1] for published in application["ports"]] == [str(port)]
    assert application["healthcheck"]["test"][-1] == f"http://localhost:{port}/health"
    assert f"EXPOSE {port}" in (K8S / "Dockerfile").read_text()


def test_rays_variables_are_the_same_on_a_laptop_in_the_image_and_in_compose() -> None:
    ours = {name: value for name, value in ray_variables().items() if name.startswith("RAY_")}
    image = re.findall(r"^ +(RAY_\w+)=(\S+)", (K8S / "Dockerfile").read_text(), re.MULTILINE)
    assert dict(image) == ours
    assert ROOT / compose()["services"]["application"]["env_file"] == RAY_ENV


def cpus_of_replicas(bound: str) -> float:
    [application] = serve_config()["applications"]
    total = 0.0
    for deployment in application["deployments"]:
        scaling = deployment.get("autoscaling_config", {})
        replicas = scaling.get(bound, deployment.get("num_replicas", 1))
        total += replicas * deployment.get("ray_actor_options", {}).get("num_cpus", 1)
    return total


def test_fewest_replicas_fit_the_fewest_workers() -> None:
    workers = worker_group()
    cpus = float(workers["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    assert cpus_of_replicas("min_replicas") <= workers["minReplicas"] * cpus
    assert cpus_of_replicas("max_replicas") <= workers["maxReplicas"] * cpus


def test_fewest_replicas_fit_a_laptop() -> None:
    patch = load(K8S / "overlays/laptop/ray-sizes.yaml")
    [resources] = [
        op["value"] for op in patch if op["path"].endswith("workerGroupSpecs/0/template/spec/containers/0/resources")
    ]
    assert cpus_of_replicas("min_replicas") <= float(resources["limits"]["cpu"])


# ---------------------------------------------------------------- Kafka


def test_topics_are_what_the_application_would_create() -> None:
    kafka = settings().kafka
    topics = {topic["metadata"]["name"]: topic["spec"] for topic in every("KafkaTopic")}
    wanted = fleet.kafka.wanted_topics(kafka)
    assert set(topics) == set(wanted)
    for name, new_topic in wanted.items():
        assert topics[name]["partitions"] == new_topic.num_partitions, name
        config = {key: str(value) for key, value in topics[name]["config"].items()}
        assert {key: config.get(key) for key in new_topic.config} == new_topic.config, name


def test_topics_have_as_many_copies_as_brokers() -> None:
    replicas = one("KafkaNodePool", "nodes")["spec"]["replicas"]
    config = one("Kafka", "fleet")["spec"]["kafka"]["config"]
    assert {topic["spec"]["replicas"] for topic in every("KafkaTopic")} == {replicas} == {3}
    assert config["default.replication.factor"] == config["transaction.state.log.replication.factor"] == replicas
    assert config["min.insync.replicas"] == config["transaction.state.log.min.isr"] == replicas - 1


def acls(user: str) -> list[Manifest]:
    return one("KafkaUser", user)["spec"]["authorization"]["acls"]


def test_application_may_use_its_topics_group_and_transactions() -> None:
    kafka = settings().kafka
    rights = {(a["resource"]["type"], a["resource"]["name"]): set(a["operations"]) for a in acls("fleet-application")}
    names = kafka.topics
    assert "Read" in rights["topic", names.telemetry]
    for written in (names.scored, names.episodes, names.dlq, names.state):
        assert rights["topic", written] >= {"Read", "Write", "Describe", "DescribeConfigs"}
    transactional_id = fleet.kafka.transactional_id(kafka, 0)
    for kind, used in (("group", kafka.group_id), ("transactionalId", transactional_id)):
        [prefix] = [a["resource"] for a in acls("fleet-application") if a["resource"]["type"] == kind]
        assert prefix["patternType"] == "prefix"
        assert used.startswith(prefix["name"])


def test_only_the_topic_operator_creates_topics() -> None:
    granted = {
        operation
        for user in every("KafkaUser")
        for acl in acls(user["metadata"]["name"])
        for operation in acl["operations"]
    }
    assert granted.isdisjoint({"Create", "Alter", "Delete", "All"})


@pytest.mark.parametrize("role", ["head", "worker", "simulator"])
def test_pods_connect_as_a_kafka_user_that_exists(role: str) -> None:
    pod = pod_specs()[role]
    [container] = pod["spec"]["containers"]
    variables = {variable["name"]: variable for variable in container["env"]}
    user = variables["KAFKA_SASL_USERNAME"]["value"]
    assert one("KafkaUser", user)["spec"]["authentication"]["type"] == "scram-sha-512"
    # Strimzi's user operator names the Secret after the user.
    assert variables["KAFKA_SASL_PASSWORD"]["valueFrom"]["secretKeyRef"] == {"name": user, "key": "password"}
    [volume] = [v["secret"] for v in pod["spec"]["volumes"] if v["name"] == "kafka-ca"]
    assert volume["secretName"] == f"{one('Kafka', 'fleet')['metadata']['name']}-cluster-ca-cert"
    environment = one("ConfigMap", "fleet-environment")["data"]
    assert {"configMapRef": {"name": "fleet-environment"}} in container["envFrom"]
    [mount] = [m["mountPath"] for m in container["volumeMounts"] if m["name"] == "kafka-ca"]
    assert environment["KAFKA_SSL_CA_LOCATION"] == f"{mount}/{volume['items'][0]['path']}"


def test_environment_is_read_by_the_client() -> None:
    environment = {
        **one("ConfigMap", "fleet-environment")["data"],
        "KAFKA_SASL_USERNAME": "u",
        "KAFKA_SASL_PASSWORD": "p",
    }
    config = fleet.kafka.client_config(environment)
    assert len(config) == len(environment)
    [listener] = one("Kafka", "fleet")["spec"]["kafka"]["listeners"]
    assert config["bootstrap.servers"] == f"fleet-kafka-bootstrap:{listener['port']}"
    assert config["sasl.mechanism"].lower() == listener["authentication"]["type"]
    assert config["security.protocol"] == "SASL_SSL"
    assert listener["tls"] is True


@pytest.mark.parametrize("role", ["head", "worker", "simulator"])
def test_network_lets_kafka_clients_reach_kafka(role: str) -> None:
    labels = pod_specs()[role]["metadata"]["labels"].items()
    [listener] = one("Kafka", "fleet")["spec"]["kafka"]["listeners"]
    [peer] = listener["networkPolicyPeers"]
    egress = one("NetworkPolicy", "kafka-clients")["spec"]
    assert peer["podSelector"]["matchLabels"].items() <= labels
    assert egress["podSelector"]["matchLabels"].items() <= labels
    assert [port["port"] for port in egress["egress"][0]["ports"]] == [listener["port"]]


# ---------------------------------------------------------------- pods


@pytest.mark.parametrize("role", ["head", "worker", "simulator"])
def test_pods_meet_the_restricted_standard(role: str) -> None:
    pod = pod_specs()[role]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"].keys() == container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_worker_has_time_to_drain() -> None:
    pod = worker_group()["template"]["spec"]
    script, seconds = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-2:]
    assert (K8S / Path(script).name).is_file()
    stop_s = int(re.search(r"ray stop --grace-period (\d+)", (K8S / "drain-node.sh").read_text())[1])
    assert int(seconds) + stop_s < pod["terminationGracePeriodSeconds"]
    assert pod["terminationGracePeriodSeconds"] < ray_service()["spec"]["rayClusterDeletionDelaySeconds"]
    [application] = serve_config()["applications"]
    slowest_s = max(d.get("graceful_shutdown_timeout_s", 20) for d in application["deployments"])
    assert slowest_s < int(seconds)


@pytest.mark.parametrize("accepted", [True, False], ids=["drained", "refused"])
def test_drain_script_stops_ray_whether_or_not_the_drain_was_accepted(tmp_path: Path, accepted: bool) -> None:
    """`ray` and `pgrep` are recorders here: the real ones would stop what else runs on this machine."""
    for name, status in (("ray", f'[ "$1" = stop ] || exit {int(not accepted)}'), ("pgrep", "exit 1")):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\n{status}\n')
        program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", K8S / "drain-node.sh", "7"], env=environment, timeout=30, check=True)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0].startswith("ray drain-node --reason DRAIN_NODE_REASON_PREEMPTION")
    assert calls[0].endswith("--deadline-remaining-seconds 7")
    assert ("pgrep --full ^ray::ServeReplica:" in calls) is accepted
    assert calls[-1].startswith("ray stop")


def test_drain_script_needs_its_limit() -> None:
    refused = subprocess.run(["bash", K8S / "drain-node.sh"], capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode != 0
    assert "needs the seconds" in refused.stderr


@pytest.mark.parametrize("role", ["head", "worker"])
def test_shared_memory_holds_the_object_store(role: str) -> None:
    cluster = ray_service()["spec"]["rayClusterConfig"]
    group = cluster["headGroupSpec"] if role == "head" else worker_group()
    [volume] = [v["emptyDir"] for v in pod_specs()[role]["spec"]["volumes"] if v["name"] == "shared-mem"]
    assert volume["medium"] == "Memory"
    assert int(group["rayStartParams"]["object-store-memory"]) < int(volume["sizeLimit"].removesuffix("Mi")) * 2**20


def test_ray_version_is_the_pinned_one() -> None:
    pinned = re.search(r"^ray==(\S+)", (ROOT / "requirements/cluster.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert ray_service()["spec"]["rayClusterConfig"]["rayVersion"] == pinned[1]


def test_one_image_everywhere() -> None:
    name, tag = compose()["services"]["application"]["image"].split(":")
    assert tag == pyproject()["project"]["version"]
    images = [image for k in kustomizations().values() for image in k.get("images", [])]
    assert images == [{"name": name, "newTag": tag}] * 2
    assert {pod["spec"]["containers"][0]["image"] for pod in pod_specs().values()} == {name}
    assert compose()["services"]["simulator"]["image"] == f"{name}:{tag}"


def test_image_is_built_from_every_package() -> None:
    sent = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    packages = {
        pattern.removesuffix("*") for pattern in pyproject()["tool"]["setuptools"]["packages"]["find"]["include"]
    }
    assert sent >= packages | {
        "ui",
        "serve_config.yaml",
        "requirements/cluster.txt",
        "pyproject.toml",
        "k8s/drain-node.sh",
    }
    assert pyproject()["project"]["readme"] in sent
    assert {path for path in sent if not (ROOT / path).exists()} == set()


# ---------------------------------------------------------------- docker compose


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
