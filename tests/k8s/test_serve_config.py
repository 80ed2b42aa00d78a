"""k8s/, docker-compose.yml and the image hold the Serve config, its port, Ray's variables and room for its replicas."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from launch.ray_environment import RAY_ENV, ray_variables
from tests.k8s.manifests import (
    K8S,
    ROOT,
    Manifest,
    compose,
    load,
    one,
    pod_specs,
    ray_service,
    render_module,
    rendered_overlay,
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


def overrides_of(folder: str) -> str:
    return (K8S / folder / "serve-overrides.yaml").read_text()


def test_made_files_are_up_to_date() -> None:
    for file, text in render_module().files():
        assert file.read_text() == text, f"run `python k8s/render.py`: {file}"


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every setting with its place; things in a list stand under their names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and value:
        for item in value:
            yield from leaves({k: v for k, v in item.items() if k != "name"}, (*path, item["name"]))
    else:
        yield path, value


def override_at(place: tuple[str, ...], value: Any, config: Any) -> Any:
    """An override of one setting, as an overlay would write it."""
    if not place:
        return value
    name, *rest = place
    if isinstance(config, list):
        [item] = [item for item in config if item["name"] == name]
        return [{"name": name, **override_at(tuple(rest), value, item)}]
    return {name: override_at(tuple(rest), value, config[name])}


@pytest.mark.parametrize("place", [place for place, _ in leaves(serve_config())], ids=".".join)
def test_every_setting_can_be_overridden_and_no_other_changes(place: tuple[str, ...]) -> None:
    config, other = serve_config(), "another value"
    merged = render_module().overridden(config, override_at(place, other, config))
    assert dict(leaves(merged)) == dict(leaves(config)) | {place: other}


def test_an_override_of_a_deployment_that_there_is_not_is_refused() -> None:
    overrides = yaml.safe_dump({"applications": [{"name": "fleet", "deployments": [{"name": "Skorer"}]}]})
    with pytest.raises(ValueError, match="Skorer"):
        render_module().patch((ROOT / "serve_config.yaml").read_text(), overrides)


def several_nodes() -> Manifest:
    return render_module().overridden(serve_config(), yaml.safe_load(overrides_of("components/several-nodes")))


def cpus_of_replicas(bound: str, config: Manifest | None = None) -> float:
    [application] = (config or serve_config())["applications"]
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


def test_load_makes_ray_add_workers_on_several_nodes() -> None:
    """The fewest replicas fit the fewest workers, and the most do not: that is what Ray's autoscaler acts upon."""
    group, config = worker_group(), several_nodes()
    cpus = float(group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    assert cpus_of_replicas("min_replicas", config) <= group["minReplicas"] * cpus
    assert group["minReplicas"] * cpus < cpus_of_replicas("max_replicas", config) <= group["maxReplicas"] * cpus


@pytest.mark.parametrize("overlay", ["overlays/production", "overlays/external-kafka"])
def test_drains_of_every_worker_in_turn_can_go_on(overlay: str) -> None:
    """A worker is ready where a gateway stands: one on each of as many workers as the budget wants, and one more."""
    rendered = rendered_overlay(overlay)
    [budget] = [m["spec"] for m in rendered if m["kind"] == "PodDisruptionBudget"]
    [service] = [m["spec"] for m in rendered if m["kind"] == "RayService"]
    [application] = yaml.safe_load(service["serveConfigV2"])["applications"]
    deployments = {deployment["name"]: deployment for deployment in application["deployments"]}
    assert deployments["Gateway"]["num_replicas"] > budget["minAvailable"]
    assert deployments["Gateway"]["max_replicas_per_node"] == 1
    assert deployments["Gateway"]["num_replicas"] <= worker_group()["minReplicas"]
    assert deployments["Scorer"]["autoscaling_config"]["min_replicas"] >= 2
    assert application["args"]["kafka"]["replication_factor"] == 3


@pytest.mark.parametrize("overlay", ["base", "overlays/laptop"])
def test_one_gateway_has_no_budget_that_would_hold_a_drain_up(overlay: str) -> None:
    assert not [m for m in rendered_overlay(overlay) if m["kind"] == "PodDisruptionBudget"]


def test_serve_knows_the_fields_of_the_patch() -> None:
    ServeDeploySchema(**several_nodes())
