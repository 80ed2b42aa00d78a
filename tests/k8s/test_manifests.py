"""k8s/: valid against the schemas of their kinds.

Overlays are rendered where kubectl or kustomize is on the PATH; what they patch is checked in any case.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from fleet.settings import read_settings
from tests.k8s.manifests import (
    COMPONENTS,
    CRD_FILES,
    K8S,
    OVERLAYS,
    SCHEMAS,
    SERVE_OVERRIDES,
    Manifest,
    compose,
    kustomizations,
    label,
    load,
    manifests,
    one,
    patch_files,
    rendered_overlay,
    resources_under,
    skip_without_schema,
    validate,
)


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


def resolve(document: Any, path: list[str]) -> Any:
    for step in path:
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


def test_every_file_is_listed_and_every_listed_file_exists() -> None:
    listed = set(patch_files())
    for folder, kustomization in kustomizations().items():
        for entry in [*kustomization.get("resources", []), *kustomization.get("components", [])]:
            path = (folder / entry).resolve()
            listed.add(path / "kustomization.yaml" if path.is_dir() else path)
    listed |= set(K8S.rglob(SERVE_OVERRIDES))  # for render.py, and not for kustomize
    assert {path for path in listed if not path.is_file()} == set()
    entry_points = {K8S / folder / "kustomization.yaml" for folder in [*OVERLAYS, *COMPONENTS]}
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


def patched_by(folder: Path) -> list[Manifest]:
    """What the patches of a folder are applied to; those of a component, to what includes it."""
    included = {user: [(user / c).resolve() for c in k.get("components", [])] for user, k in kustomizations().items()}
    users = [user for user, components in included.items() if folder in components]
    return resources_under(folder) + [r for user in users for r in resources_under(user)]


def test_merge_patches_name_resources_that_exist() -> None:
    for folder, kustomization in kustomizations().items():
        known = {(r["kind"], r["metadata"]["name"]) for r in patched_by(folder)}
        for patch in (p for p in kustomization.get("patches", []) if "target" not in p):
            changed = load(folder / patch["path"])
            assert (changed["kind"], changed["metadata"]["name"]) in known


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_rendered_overlay_is_valid(overlay: str) -> None:
    rendered = rendered_overlay(overlay)
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
    read_settings(yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["args"])
