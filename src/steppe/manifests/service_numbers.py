"""The families of a Service, and whether it needs node ports, by the API text. Pure.

It has two users, which allocate the numbers: manifests/numbering.py for invented ones, and the
lab's API server.
"""

from collections.abc import Callable, Iterable, Sequence

from steppe.manifests.documents import Json
from steppe.net.address import parse_address

NODE_PORTS = range(30000, 32768)
"""The API server's default (--service-node-port-range)."""


def family_of(text: str) -> str:
    """`IPv4` or `IPv6`; "" if the text is no address."""
    try:
        return f"IPv{parse_address(text).version}"
    except ValueError:
        return ""


def families(
    written: Sequence[str], given: Iterable[str], served: Sequence[str], *, dual: bool
) -> list[str]:
    """The families of a Service: as written, or else those of its addresses, or the cluster's
    primary one.

    "PreferDualStack" (two IP families on dual-stack configured clusters or a single IP family on
    single-stack clusters), or "RequireDualStack" (ServiceSpec.ipFamilyPolicy) is `dual`.
    """
    known = [family for family in map(family_of, given) if family]
    found = list(written or known or served[:1])
    return found + [family for family in served if dual and family not in found]


def needs_node_ports(type_: str, *, allocate: bool) -> bool:
    """Whether a Service's ports have node ports; `allocate` is allocateLoadBalancerNodePorts."""
    return type_ == "NodePort" or (type_ == "LoadBalancer" and allocate)


def with_node_ports(ports: Iterable[Json], free: Callable[[Json], int]) -> list[Json]:
    """The ports, each with a node port.

    Ports with one number and several protocols share it (DNS).
    """
    known = list(ports)
    shared = {port.get("port"): port["nodePort"] for port in known if port.get("nodePort")}
    found: list[Json] = []
    for port in known:
        number = port.get("nodePort") or shared.get(port.get("port")) or free(port)
        shared[port.get("port")] = number
        found.append(port | {"nodePort": number})
    return found


def node_port_refusal(number: int, *, taken: bool) -> str:
    """Why an API server does not give out this node port; "" if it does."""
    if number not in NODE_PORTS:
        valid = f"The range of valid ports is {NODE_PORTS[0]}-{NODE_PORTS[-1]}"
        return f"provided port is not in the valid range. {valid}"
    return "provided port is already allocated" if taken else ""
