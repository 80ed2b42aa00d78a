"""k8s/, docker-compose.yml and the image hold the Serve config, its port, Ray's variables and room for its replicas."""

import re

import pytest
import yaml

from launch.ray_environment import RAY_ENV, ray_variables
from tests.k8s.manifests import (
    K8S,
    ROOT,
    compose,
    load,
    one,
    pod_specs,
    ray_service,
    render_module,
    serve_config,
    worker_group,
)


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
