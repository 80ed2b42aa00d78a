"""The manifests, read; and the schemas that they are validated by.

The schemas of Kubernetes itself come from a package; those of KubeRay, Strimzi and the Prometheus operator from
../shared/schemas, where that folder is.
"""

import functools
import importlib.util
import shutil
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from fleet.settings import read_settings

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
    "PrometheusRule": "monitoring.coreos.com_prometheusrules.yaml",
}
KUSTOMIZERS = [("kustomize", "build"), ("kubectl", "kustomize")]
OVERLAYS = ["base", "overlays/laptop", "overlays/production", "overlays/external-kafka"]
COMPONENTS = ["components/monitoring", "components/several-nodes", "components/toolbox"]
SERVE_OVERRIDES = "serve-overrides.yaml"

Manifest = dict[str, Any]


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
    return sorted(path for path in yamls if path.name not in ("kustomization.yaml", SERVE_OVERRIDES))


def manifests() -> list[Manifest]:
    return [document for path in manifest_files() for document in documents(path)]


def resources_under(folder: Path) -> list[Manifest]:
    """Every document that a kustomization pulls in, before its patches."""
    found = []
    kustomization = kustomizations()[folder]
    for entry in [*kustomization.get("resources", []), *kustomization.get("components", [])]:
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


@functools.cache
def rendered_overlay(overlay: str) -> list[Manifest]:
    """Every document of an overlay, as kustomize makes it; skips where there is no kustomize."""
    found = [(path, verb) for tool, verb in KUSTOMIZERS if (path := shutil.which(tool))]
    if not found:
        pytest.skip("neither kustomize nor kubectl is on the PATH")
    built = subprocess.run([*found[0], K8S / overlay], capture_output=True, text=True, timeout=60, check=False)
    assert built.returncode == 0, built.stderr
    return [document for document in yaml.safe_load_all(built.stdout) if document]


def pod_specs() -> dict[str, Manifest]:
    cluster = ray_service()["spec"]["rayClusterConfig"]
    return {
        "head": cluster["headGroupSpec"]["template"],
        "worker": worker_group()["template"],
        "simulator": one("Deployment", "fleet-simulator")["spec"]["template"],
        "toolbox": one("Deployment", "fleet-toolbox")["spec"]["template"],
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
