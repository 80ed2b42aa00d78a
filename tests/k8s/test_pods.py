"""k8s/: pods are safe, have time to drain, and run the one image."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from launch.ray_environment import ray_variables
from tests.k8s.manifests import (
    K8S,
    ROOT,
    compose,
    kustomizations,
    pod_specs,
    pyproject,
    ray_service,
    serve_config,
    worker_group,
)


@pytest.mark.parametrize("role", ["simulator", "toolbox"])
def test_a_pod_that_cannot_write_to_its_root_has_a_place_for_what_is_compiled(role: str) -> None:
    [container] = pod_specs()[role]["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    [scratch] = [m["name"] for m in container["volumeMounts"] if m["mountPath"] == tempfile.gettempdir()]
    [volume] = [volume for volume in pod_specs()[role]["spec"]["volumes"] if volume["name"] == scratch]
    assert "emptyDir" in volume
    simulator = compose()["services"]["simulator"]
    assert (simulator["read_only"], simulator["tmpfs"]) == (True, ["/tmp"])


def test_logs_of_a_pod_stay_within_their_volume() -> None:
    """Of a few dozen files, each has its predecessors: Ray's own, and those of the most replicas of a worker."""
    variables = ray_variables()
    file_bytes = int(variables["RAY_ROTATION_MAX_BYTES"]) * (1 + int(variables["RAY_ROTATION_BACKUP_COUNT"]))
    [volume] = [v["emptyDir"] for v in pod_specs()["worker"]["spec"]["volumes"] if v["name"] == "ray-logs"]
    assert 50 * file_bytes <= int(volume["sizeLimit"].removesuffix("Gi")) * 2**30


@pytest.mark.parametrize("role", ["head", "worker", "simulator", "toolbox"])
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
    assert images == [{"name": name, "newTag": tag}] * 3
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
