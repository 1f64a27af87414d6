"""The sets and maps of table `inet steppe`: one typed declaration each.

Their names are spelled here only. A declaration makes keys from typed parts and reads the parts:

    SERVICE.key(Frontend(10.96.0.1, "TCP", 80))   @service4 10.96.0.1 . tcp . 80
    SERVICE.read(key)                             Frontend(10.96.0.1, "TCP", 80)
    SERVICE.matches(key)                          whether a key is one of this map's

There is one for each family: the name ends in 4 or 6, and the key's addresses say which.
"""

from steppe.dataplane.nft.declared import (
    NUMBER,
    Addresses,
    Choices,
    Declared,
    Frontends,
    Links,
    Numbered,
    NumberedPrefixes,
    Numbers,
    Pairs,
    Ports,
    Prefixes,
    Protocols,
    Senders,
    SourceRanges,
)
from steppe.kube.policies import Direction
from steppe.state.nft import ElementKey

VERDICT = "verdict"
BACKEND = "{address} . inet_service"

LOCAL_PODS = Prefixes("local_pods", "this node's pod prefixes")
CLUSTER = Prefixes("cluster", "every node's pod prefixes and addresses")
HAIRPIN = Pairs("hairpin", "a pod that calls itself")
CLUSTER_IP = Addresses("cluster_ip", "the cluster IPs of Services")
SERVICE_RANGE = Prefixes("service_range", "where cluster IPs are taken from")
ADMITTED = SourceRanges("admitted", "source . Service port: loadBalancerSourceRanges")
SERVICE = Frontends("service", "Service port: which chain decides", VERDICT)
ENDPOINT = Choices("endpoint", "Service port . choice: endpoint", BACKEND)
LOCAL_ENDPOINT = Choices(
    "local_endpoint", "the same of this node's own, for externalTrafficPolicy Local", BACKEND
)
STICKY_ID = Choices("sticky_id", "sessionAffinity: choice to id", NUMBER)
STICKY_ENDPOINT = Choices("sticky_endpoint", "sessionAffinity: id", BACKEND)
STICKY_LOCAL_ID = Choices(
    "sticky_local_id", "the same for externalTrafficPolicy Local: choice to id", NUMBER
)
STICKY_LOCAL_ENDPOINT = Choices(
    "sticky_local_endpoint", "the same for externalTrafficPolicy Local: id", BACKEND
)
AFFINITY = Senders("affinity", "source . Service port: the id it was given", NUMBER)
ITSELF = Pairs("itself", "1: itself", NUMBER)
POLICED = Numbers("policed", "namespaces with policies, hashed; 0: they are known")
OWN = Pairs("own", "a pod of this node, twice")
TUNNEL_LINK = Links("tunnel_end", "links that unwrap what other nodes send")
TUNNEL_PORT = Ports("tunnel_udp", "UDP ports at which tunnels end here")
TUNNEL_PROTOCOL = Protocols("tunnel_proto", "IP protocols of tunnels that end here")
TUNNEL_PEER = Addresses("tunnel_from", "address of a node whose tunnels end here: number", NUMBER)
TUNNEL_SOURCE = NumberedPrefixes("tunnel_inner", "whose packets come in a tunnel from that number")


class PolicySets:
    """The sets and maps of one direction of policy."""

    def __init__(self, direction: Direction) -> None:
        self.denied = Addresses(f"{direction}_denied", "pod: denied packets", dynamic=True)
        self.guarded = Addresses(f"{direction}_guarded", "pods with policies")
        self.peer = Addresses(f"{direction}_peer", "peer: identity", NUMBER)
        self.block = Prefixes(f"{direction}_block", "peer prefix: identity", NUMBER)
        self.allowed = Numbered(
            f"{direction}_allowed", "identity . pod: what it lets through", VERDICT
        )
        self.anyone = Addresses(
            f"{direction}_anyone", "pod: what it lets through for all other identities", VERDICT
        )

    @property
    def all(self) -> tuple[Declared, ...]:
        return (self.denied, self.guarded, self.peer, self.block, self.allowed, self.anyone)


INGRESS, EGRESS = PolicySets("ingress"), PolicySets("egress")
_BY_DIRECTION = {"ingress": INGRESS, "egress": EGRESS}


def policy_sets(direction: Direction) -> PolicySets:
    return _BY_DIRECTION[direction]


SERVICE_SETS: tuple[Declared, ...] = (
    LOCAL_PODS,
    CLUSTER,
    HAIRPIN,
    CLUSTER_IP,
    SERVICE_RANGE,
    ADMITTED,
    SERVICE,
    ENDPOINT,
    LOCAL_ENDPOINT,
    STICKY_ID,
    STICKY_ENDPOINT,
    STICKY_LOCAL_ID,
    STICKY_LOCAL_ENDPOINT,
    AFFINITY,
)
POLICY_SETS: tuple[Declared, ...] = (ITSELF, *INGRESS.all, *EGRESS.all)
_POLICY_NAMES = frozenset(name for declared in POLICY_SETS for name in declared.names)
EDGE_SETS: tuple[Declared, ...] = (OWN, TUNNEL_PEER, TUNNEL_SOURCE)
FAMILY_SETS = (*SERVICE_SETS, *POLICY_SETS, *EDGE_SETS)
"""All that exist for each family, in the skeleton's order."""


def is_policy_set(name: str) -> bool:
    """Whether policies are enforced by the set or map of this name."""
    return name in _POLICY_NAMES


def is_policy(key: object) -> bool:
    """Whether policies are enforced by the entry under this key."""
    return isinstance(key, ElementKey) and key.set in _POLICY_NAMES
