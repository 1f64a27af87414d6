"""Objects that cost a node much: each of a given size."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

HERE = "here"
"""The namespace whose pods run on the node under test."""
ANY_POD = {"namespaceSelector": {}}
Object = dict[str, Any]


def namespace(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"team": name}},
    }


def pod(space: str, name: str, node: str, number: int, **labels: str) -> Object:
    addresses = (IPv4Address("10.128.0.1") + number, IPv6Address("fd00:128::1") + number)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": space, "labels": labels},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "pause"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": str(a)} for a in addresses]},
    }


def policy(*ingress: Object, name: str = "large") -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": HERE},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": list(ingress)},
    }


def cluster_policy(*egress: Object, name: str = "large") -> Object:
    return {
        "apiVersion": "policy.networking.k8s.io/v1beta1",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "tier": "Admin",
            "priority": 5,
            "subject": {"namespaces": {"matchLabels": {"team": HERE}}},
            "egress": list(egress),
        },
    }


def odd_ports(count: int, first: int = 1) -> list[Object]:
    return [{"port": first + 2 * number} for number in range(count)]


def blocks(count: int, first: int = 0) -> list[str]:
    """Half of them IPv4 and half IPv6, none beside another."""
    half = count // 2
    return [
        *(f"{IPv4Address('20.0.0.0') + ((first + n) << 9)}/24" for n in range(half)),
        *(f"{IPv6Address('2001:db8::') + ((first + n) << 65)}/64" for n in range(count - half)),
    ]


def peers(prefixes: Iterable[str]) -> list[Object]:
    return [{"ipBlock": {"cidr": each}} for each in prefixes]


def excepting(count: int) -> Object:
    """An ipBlock with so many addresses taken out."""
    excepted = [f"{IPv4Address('10.0.0.0') + (n << 4)}/32" for n in range(count)]
    return {"from": [{"ipBlock": {"cidr": "10.0.0.0/12", "except": excepted}}]}


def overlapping(count: int, first: int = 0) -> list[Object]:
    """Rules with a block each around all the blocks behind it, and an exception of its own."""
    return [
        {
            "from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": [f"10.{first + n}.0.0/16"]}}],
            "ports": [{"port": 1 + first + n}],
        }
        for n in range(count)
    ]


def none_of(count: int, first: int = 0) -> list[Object]:
    """A rule each for all pods but one: no label narrows down whom it takes."""
    return [
        {
            "from": [
                {
                    **ANY_POD,
                    "podSelector": {
                        "matchExpressions": [
                            {"key": "own", "operator": "NotIn", "values": [f"v{first + n}"]}
                        ]
                    },
                }
            ],
            "ports": [{"port": 1 + n}],
        }
        for n in range(count)
    ]


def service(ports: int, endpoints: int) -> tuple[Object, Object]:
    """A Service and its slice."""
    names = [{"name": f"p{n}", "port": 1 + n} for n in range(ports)]
    meta = {"name": "large", "namespace": HERE}
    labels = {"kubernetes.io/service-name": "large"}
    backends = [
        {"addresses": [str(IPv4Address("10.128.0.1") + n)], "conditions": {"ready": True}}
        for n in range(endpoints)
    ]
    return (
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": names}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**meta, "labels": labels},
            "addressType": "IPv4",
            "endpoints": backends,
            "ports": names,
        },
    )


def networks(count: int) -> list[Object]:
    """Rules of a ClusterNetworkPolicy that deny these prefixes; its fields have 25 entries each."""
    texts = blocks(count)
    some = [{"networks": texts[at : at + 25]} for at in range(0, count, 25)]
    return [{"action": "Deny", "to": some[at : at + 25]} for at in range(0, len(some), 25)]
