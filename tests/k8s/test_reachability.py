"""The network policies let through what Strimzi, KubeRay and the application need, and nothing that they do not.

Computed from the rendered manifests: no plug-in enforces policies here. What Strimzi makes by itself (who may come in
to the brokers) is written down below as its operator makes it from the listener.
"""

from typing import Any

import pytest

from tests.k8s.manifests import ray_service, rendered_overlay, worker_group
from tests.k8s.policies import OUTSIDE, Pod, reaches

KAFKA, SERVE, DASHBOARD, METRICS, DNS, HTTPS, API_SERVER = 9093, 8000, 8265, 8080, 53, 443, 6443
REPLICATION, CONTROL_PLANE, ADMINISTRATION = 9091, 9090, 8443

BROKER = Pod({"strimzi.io/cluster": "fleet", "strimzi.io/name": "fleet-kafka", "strimzi.io/kind": "Kafka"})
ENTITY_OPERATOR = Pod({"strimzi.io/cluster": "fleet", "strimzi.io/name": "fleet-entity-operator"})
CLUSTER_OPERATOR = Pod({"strimzi.io/kind": "cluster-operator"}, "strimzi")
KUBERAY_BY_HELM = Pod({"app.kubernetes.io/name": "kuberay-operator"}, "ray")
KUBERAY_BY_KUSTOMIZE = Pod(
    {"app.kubernetes.io/name": "kuberay", "app.kubernetes.io/component": "kuberay-operator"}, "ray-system"
)
NAMES = Pod({"k8s-app": "kube-dns"}, "kube-system")
INGRESS = Pod({"app": "ingress"}, "ingress", {"fleet-anomaly/gateway-access": "true"})
PROMETHEUS = Pod({"app": "prometheus"}, "monitoring", {"fleet-anomaly/metrics-access": "true"})
STRANGER, STRANGER_INSIDE = Pod({"app": "stranger"}, "elsewhere"), Pod({"app": "stranger"})


def of_ray(node_type: str, template: dict[str, Any]) -> Pod:
    """A pod with the labels that KubeRay adds to those of its template."""
    added = {"ray.io/is-ray-node": "yes", "ray.io/node-type": node_type, "ray.io/cluster": "fleet"}
    return Pod({**template["metadata"]["labels"], **added})


HEAD = of_ray("head", ray_service()["spec"]["rayClusterConfig"]["headGroupSpec"]["template"])
WORKER = of_ray("worker", worker_group()["template"])
SIMULATOR = Pod({"app.kubernetes.io/name": "fleet-simulator", "fleet-anomaly/kafka-client": "true"})

# What Strimzi's operator makes of the listener's networkPolicyPeers, and of what the brokers themselves need.
OF_STRIMZI = {
    "kind": "NetworkPolicy",
    "metadata": {"name": "fleet-network-policy-kafka"},
    "spec": {
        "podSelector": {"matchLabels": {"strimzi.io/cluster": "fleet", "strimzi.io/name": "fleet-kafka"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [{"podSelector": {"matchLabels": {"strimzi.io/cluster": "fleet"}}}],
                "ports": [{"port": CONTROL_PLANE}, {"port": REPLICATION}],
            },
            {
                "from": [
                    {
                        "namespaceSelector": {},
                        "podSelector": {"matchLabels": {"strimzi.io/kind": "cluster-operator"}},
                    }
                ],
                "ports": [{"port": CONTROL_PLANE}, {"port": REPLICATION}, {"port": ADMINISTRATION}],
            },
            {
                "from": [{"podSelector": {"matchLabels": {"fleet-anomaly/kafka-client": "true"}}}],
                "ports": [{"port": KAFKA}],
            },
        ],
    },
}


def policies(overlay: str) -> list[dict[str, Any]]:
    found = [manifest for manifest in rendered_overlay(overlay) if manifest["kind"] == "NetworkPolicy"]
    return [*found, OF_STRIMZI]


NEEDS = {
    "a broker replicates": (BROKER, BROKER, REPLICATION),
    "a broker follows its controller": (BROKER, BROKER, CONTROL_PLANE),
    "a broker reads its keys from the API server": (BROKER, OUTSIDE, API_SERVER),
    "a broker reads its keys through the service": (BROKER, OUTSIDE, HTTPS),
    "the entity operator reaches the API server": (ENTITY_OPERATOR, OUTSIDE, HTTPS),
    "the entity operator reaches brokers": (ENTITY_OPERATOR, BROKER, REPLICATION),
    "Strimzi's operator looks after brokers": (CLUSTER_OPERATOR, BROKER, REPLICATION),
    "Strimzi's operator asks brokers for their state": (CLUSTER_OPERATOR, BROKER, ADMINISTRATION),
    "ingest reads and writes": (WORKER, BROKER, KAFKA),
    "the application is built on the head": (HEAD, BROKER, KAFKA),
    "vehicles publish": (SIMULATOR, BROKER, KAFKA),
    "KubeRay, installed by Helm, submits the config": (KUBERAY_BY_HELM, HEAD, DASHBOARD),
    "KubeRay, installed by kustomize, submits the config": (KUBERAY_BY_KUSTOMIZE, HEAD, DASHBOARD),
    "KubeRay asks the head's proxy": (KUBERAY_BY_KUSTOMIZE, HEAD, SERVE),
    "workers find the head": (WORKER, HEAD, 6379),
    "workers call one another": (WORKER, WORKER, 31_234),
    "the autoscaler adds workers": (HEAD, OUTSIDE, HTTPS),
    "people reach the page": (INGRESS, WORKER, SERVE),
}
EXTERNAL_NEEDS = {"ingest reads and writes elsewhere": (WORKER, OUTSIDE, KAFKA)}
NO_NEEDS = {
    "a stranger reads the page": (STRANGER, WORKER, SERVE),
    "a stranger submits work": (STRANGER, HEAD, DASHBOARD),
    "a stranger inside submits work": (STRANGER_INSIDE, HEAD, DASHBOARD),
    "a stranger inside reads Kafka": (STRANGER_INSIDE, BROKER, KAFKA),
    "the ingress controller reaches the dashboard": (INGRESS, HEAD, DASHBOARD),
    "a worker administers the cluster": (WORKER, OUTSIDE, API_SERVER),
    "the simulator reaches the page": (SIMULATOR, WORKER, SERVE),
    "a broker reaches anything outside": (BROKER, OUTSIDE, 25),
}
OF_OUR_KAFKA = {name for name, ends in NEEDS.items() if any(pod in (BROKER, ENTITY_OPERATOR) for pod in ends[:2])}


@pytest.mark.parametrize("overlay", ["base", "overlays/laptop", "overlays/production"])
@pytest.mark.parametrize("need", NEEDS)
def test_what_is_needed_gets_through(overlay: str, need: str) -> None:
    assert reaches(policies(overlay), *NEEDS[need])


@pytest.mark.parametrize("need", [*sorted(NEEDS.keys() - OF_OUR_KAFKA), *EXTERNAL_NEEDS])
def test_what_is_needed_gets_through_beside_a_kafka_elsewhere(need: str) -> None:
    assert reaches(policies("overlays/external-kafka"), *(NEEDS | EXTERNAL_NEEDS)[need])


@pytest.mark.parametrize("overlay", ["base", "overlays/production", "overlays/external-kafka"])
@pytest.mark.parametrize("attempt", NO_NEEDS)
def test_what_nobody_needs_does_not(overlay: str, attempt: str) -> None:
    assert not reaches(policies(overlay), *NO_NEEDS[attempt])


@pytest.mark.parametrize("pod", [BROKER, ENTITY_OPERATOR, HEAD, WORKER, SIMULATOR])
def test_everybody_can_look_names_up(pod: Pod) -> None:
    for protocol in ("TCP", "UDP"):
        assert reaches(policies("base"), pod, NAMES, DNS, protocol)


def test_prometheus_scrapes_where_the_component_is() -> None:
    component = [m for m in rendered_overlay("components/monitoring") if m["kind"] == "NetworkPolicy"]
    for pod in (HEAD, WORKER):
        assert not reaches(policies("base"), PROMETHEUS, pod, METRICS)
        assert reaches([*policies("base"), *component], PROMETHEUS, pod, METRICS)
