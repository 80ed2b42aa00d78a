"""Who may reach whom, by the network policies of an overlay: what a plug-in that enforces them would decide.

A pod is a set of labels in a namespace with labels. What no policy selects is open; what one does is closed but for
what some policy lets through. Only what our policies use is understood, and anything else is an error.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

Labels = dict[str, str]
Manifest = dict[str, Any]

NAMESPACE = "fleet-anomaly"


class Pod(NamedTuple):
    """A pod, or with no labels at all something outside of the cluster, such as the API server's address."""

    labels: Labels
    namespace: str = NAMESPACE
    namespace_labels: Labels | None = None

    @property
    def of_namespace(self) -> Labels:
        return {"kubernetes.io/metadata.name": self.namespace, **(self.namespace_labels or {})}


OUTSIDE = Pod({}, "")


def reaches(policies: Iterable[Manifest], source: Pod, target: Pod, port: int, protocol: str = "TCP") -> bool:
    """Whether one pod's connection to another's port gets through."""
    found = list(policies)
    out = _allows(found, "egress", source, target, port, protocol)
    return out and _allows(found, "ingress", target, source, port, protocol)


def _allows(policies: list[Manifest], way: str, pod: Pod, peer: Pod, port: int, protocol: str) -> bool:
    if pod.namespace != NAMESPACE:
        return True  # others' namespaces are others' business
    kind = way.capitalize()
    rules = [policy["spec"] for policy in policies if kind in policy["spec"]["policyTypes"]]
    selecting = [spec for spec in rules if _selects(spec["podSelector"], pod.labels)]
    return not selecting or any(
        _lets_through(rule, "to" if way == "egress" else "from", peer, port, protocol)
        for spec in selecting
        for rule in spec.get(way, [])
    )


def _lets_through(rule: Manifest, side: str, peer: Pod, port: int, protocol: str) -> bool:
    assert set(rule) <= {side, "ports"}
    ports = rule.get("ports")
    if ports is not None and not any(
        one.get("protocol", "TCP") == protocol and one["port"] <= port <= one.get("endPort", one["port"])
        for one in ports
    ):
        return False
    return side not in rule or any(_is_peer(one, peer) for one in rule[side])


def _is_peer(selector: Manifest, pod: Pod) -> bool:
    assert set(selector) <= {"podSelector", "namespaceSelector", "ipBlock"}
    if "ipBlock" in selector or pod == OUTSIDE:
        return False  # no address is known here
    if "namespaceSelector" in selector:
        in_namespace = _selects(selector["namespaceSelector"], pod.of_namespace)
    else:
        in_namespace = pod.namespace == NAMESPACE
    return in_namespace and _selects(selector.get("podSelector", {}), pod.labels)


def _selects(selector: Manifest, labels: Labels) -> bool:
    assert set(selector) <= {"matchLabels"}
    wanted: Labels = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()
