"""Workloads (attachments of pods to a node): the names of their links, and their record there.

The alias of a pod's link records a complete attachment: it is set last, in one step, and has the
pod's name, its addresses and its container. People and the agent both read it.
"""

import base64
import re
from functools import lru_cache
from hashlib import sha256

from steppe.kube.cluster import Cluster
from steppe.kube.objects import Pod, Workload
from steppe.net.address import IPAddress, parse_address
from steppe.net.mac import derived_mac

LINK_PREFIX = "st"
_POD_LINK = re.compile(r"st[a-z2-7]{10}")
POD_GROUP = 7473
"""The group that every pod's link is in, from the moment it is made: rules know pod links by it."""
ALIAS_LIMIT = 255
"""The longest alias of a link, in bytes (IFALIASZ in linux/if.h is 256, with the final NUL)."""


@lru_cache(maxsize=1 << 12)
def link_name(uid: str, interface: str = "eth0") -> str:
    """The name of the host-side link of a pod's interface: it fits IFNAMSIZ and is the same for
    each ADD of the pod.
    """
    digest = sha256(f"{uid}/{interface}".encode()).digest()
    return LINK_PREFIX + base64.b32encode(digest)[:10].decode().lower()


def is_pod_link(name: str) -> bool:
    """Whether a link's name is that of the host side of a pod's interface."""
    return _POD_LINK.fullmatch(name) is not None


def host_mac(link: str) -> str:
    """The MAC address of the host end: the pod sends every frame to it."""
    return derived_mac("host", link)


def pod_mac(link: str) -> str:
    """The MAC address of the pod end."""
    return derived_mac("pod", link)


def interface(workload: Workload) -> str:
    """The name of the pod's end of its link, inside the pod."""
    return workload.container.partition("/")[2] or "eth0"


def alias(workload: Workload) -> str:
    """`namespace/name address… container/interface`; an overlong name is cut and hashed."""
    rest = "".join(f" {word}" for word in (*workload.addresses, workload.container) if word)
    owner = f"{workload.namespace}/{workload.name}"
    room = ALIAS_LIMIT - len(rest)
    if len(owner) > room:
        owner = f"{owner[: room - 9]}~{sha256(owner.encode()).hexdigest()[:8]}"
    return owner + rest


def parse_alias(text: str, link: str, node: str) -> Workload | None:
    """The workload that an alias records; None if Steppe did not write the alias."""
    owner, *words = text.split(" ")
    namespace, slash, name = owner.partition("/")
    if not (slash and namespace and name):
        return None
    addresses: list[IPAddress] = []
    container = ""
    for word in words:
        if "/" in word:
            container = word
            continue
        try:
            addresses.append(parse_address(word))
        except ValueError:
            return None
    return Workload(link, namespace, name, node, tuple(addresses), container)


def workload_of(pod: Pod) -> Workload | None:
    """The attachment of a pod, from its API object; None while it has no addresses of its own."""
    if pod.host_network or pod.finished or not pod.node or not pod.addresses:
        return None
    link = link_name(pod.uid or f"{pod.namespace}/{pod.name}")
    return Workload(link, pod.namespace, pod.name, pod.node, pod.addresses)


def workloads_on(cluster: Cluster, node: str) -> tuple[Workload, ...]:
    """The attachments of a node's pods, from their API objects."""
    found = (workload_of(pod) for pod in cluster.pods.values() if pod.node == node)
    return tuple(workload for workload in found if workload is not None)
