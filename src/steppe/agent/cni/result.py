"""The results of ADD, in the format of the requested version, and what CHECK compares with them.

interfaces  [host side, the pod's side with its sandbox]
ips         /32 and /128, each with the gateway (no link has it, see compile/pod.py)
routes      a default route for each family
"""

import ipaddress
from collections.abc import Iterator
from typing import Any

from steppe.agent.cni.request import Previous, Request
from steppe.compile.pod import GATEWAYS
from steppe.kube.objects import Workload
from steppe.net.address import host_prefix
from steppe.state.workload import host_mac, pod_mac

Result = dict[str, Any]
_DEFAULTS = {4: "0.0.0.0/0", 6: "::/0"}


def add_result(request: Request, workload: Workload, mtu: int) -> Result:
    """The result that ADD prints: what earlier plugins of the chain made, then what we made."""
    before = request.previous or Previous()
    mine = len(before.interfaces) + 1
    return {
        "cniVersion": request.version,
        "interfaces": [*before.interfaces, *_interfaces(request, workload, mtu)],
        "ips": [*before.ips, *_ips(request, workload, mine)],
        "routes": [*before.routes, *_routes(workload)],
        "dns": before.dns or request.dns,
    }


def _interfaces(request: Request, workload: Workload, mtu: int) -> Iterator[Result]:
    # An interface's mtu came with 1.1.0.
    size = {"mtu": mtu} if request.version == "1.1.0" else {}
    yield {"name": workload.link, "mac": host_mac(workload.link), **size}
    yield {
        "name": request.interface,
        "mac": pod_mac(workload.link),
        **size,
        "sandbox": request.netns,
    }


def _ips(request: Request, workload: Workload, interface: int) -> Iterator[Result]:
    for address in workload.addresses:
        # "version": "4" or "6" belongs to each address before 1.0.0.
        old = {"version": str(address.version)} if request.version < "1" else {}
        yield {
            **old,
            "address": str(host_prefix(address)),
            "gateway": str(GATEWAYS[address.version]),
            "interface": interface,
        }


def _routes(workload: Workload) -> Iterator[Result]:
    for address in workload.addresses:
        yield {"dst": _DEFAULTS[address.version], "gw": str(GATEWAYS[address.version])}


def expected_link(request: Request, workload: Workload, mtu: int) -> tuple[str, int]:
    """The expected MAC address and MTU of the pod's interface, from the chain's final result.

    Later plugins of the chain (tuning) may have changed them, and CHECK must accept that.
    """
    for interface in request.previous.interfaces if request.previous is not None else ():
        if interface.get("name") == request.interface and interface.get("sandbox"):
            mac, given = interface.get("mac"), interface.get("mtu")
            return (
                str(mac).lower() if mac else pod_mac(workload.link),
                given if isinstance(given, int) and given else mtu,
            )
    return pod_mac(workload.link), mtu


def faults_of_previous(request: Request, workload: Workload) -> Iterator[str]:
    """How prevResult, the runtime's record of the ADD, differs from ours."""
    before = request.previous or Previous()
    names = {interface.get("name") for interface in before.interfaces}
    for name in (workload.link, request.interface):
        if name not in names:
            yield f"prevResult lists no interface {name}"
    listed = {_address(entry.get("address")) for entry in before.ips}
    for address in workload.addresses:
        if address not in listed:
            yield f"prevResult does not list {address}, which this pod was given"


def _address(text: object) -> object:
    try:
        return ipaddress.ip_interface(str(text)).ip
    except ValueError:
        return None
