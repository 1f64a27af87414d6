"""Where pods find DNS: their node's own addresses, or the Service in front of all of them."""

import asyncio
import json

import msgspec
import pytest

from steppe.client.client import Client
from steppe.client.config import load_config
from steppe_lab.dns.nameservers import DnsServers, nameservers, service_manifests
from steppe_lab.dns.objects import EndpointSlice, Service
from steppe_lab.dns.records import cluster_ips, service_ports
from steppe_lab.kubelet.config import DnsSettings, LabConfig, NodeConfig
from steppe_lab.manifests import apply
from steppe_lab.topology.model import describe
from tests.apiserver.cluster import Server

NODES = describe("lab", 2, "dual", "racks").nodes


@pytest.mark.parametrize(
    ("family", "place", "expected"),
    [
        ("dual", DnsServers.NODE, ("192.0.2.11", "2001:db8:0:1::11")),
        ("ipv4", DnsServers.NODE, ("192.0.2.11",)),
        ("ipv6", DnsServers.NODE, ("2001:db8:0:1::11",)),
        ("dual", DnsServers.SERVICE, ("10.96.0.10", "fd00:10:96::a")),
        ("ipv4", DnsServers.SERVICE, ("10.96.0.10",)),
        ("ipv6", DnsServers.SERVICE, ("fd00:10:96::a",)),
    ],
)
def test_a_pod_asks_one_server_a_family(family, place, expected) -> None:
    assert nameservers(place, describe("lab", 1, family, "flat").nodes[0]) == expected


def test_the_service_is_at_the_tenth_address_with_every_node_behind_it() -> None:
    service, *slices = service_manifests(NODES)
    read = msgspec.convert(service, Service)
    assert [str(address) for address in cluster_ips(read)] == ["10.96.0.10", "fd00:10:96::a"]
    ports = {(port.name, port.protocol, port.number) for port in service_ports(read)}
    assert ports == {("dns", "udp", 53), ("dns-tcp", "tcp", 53)}
    assert {msgspec.convert(each, EndpointSlice).service for each in slices} == {"kube-dns"}
    behind = {
        (endpoint["nodeName"], *endpoint["addresses"])
        for each in slices
        for endpoint in each["endpoints"]
    }
    assert behind == {(node.name, address) for node in NODES for address in node.addresses}


def test_a_node_without_servers_of_its_own_has_the_labs() -> None:
    lab = DnsSettings(nameservers=("10.96.0.10",), searches=("example",))
    node = NodeConfig("node-a", "", (), "", "", "")
    config = LabConfig("lab", (node,), lab)
    assert config.dns_of(node) == lab
    own = msgspec.structs.replace(node, nameservers=("192.0.2.11",))
    assert config.dns_of(own) == DnsSettings(nameservers=("192.0.2.11",), searches=("example",))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["dual", "ipv4", "ipv6"])
def test_the_api_takes_the_service(tmp_path, family) -> None:
    server = Server(tmp_path / "api")
    server.start("--family", family)
    try:
        manifests = service_manifests(describe("lab", 2, family, "racks").nodes)
        asyncio.run(_apply(str(server.kubeconfig), manifests))
        # A second time changes nothing, as when a lab is brought up on an API that has it.
        asyncio.run(_apply(str(server.kubeconfig), manifests))
    finally:
        server.stop()


async def _apply(kubeconfig: str, manifests) -> None:
    async with Client(load_config(kubeconfig), user_agent="steppe-lab") as client:
        await apply(client, json.loads(json.dumps(manifests)))
