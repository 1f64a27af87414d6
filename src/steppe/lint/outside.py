"""Services and who comes to them from outside or by another family: what a client will meet."""

from collections.abc import Iterator

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import Block, NetworkPolicy
from steppe.kube.services import Service, ServicePort
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding, known_as, named
from steppe.lint.trying import Edit, arrives, packet_of
from steppe.net.address import IPAddress


def one_family(facts: Facts) -> Iterator[Finding]:
    """Services with an address of a family in which they have no endpoint."""
    for service, slices in facts.cluster.services_with_slices():
        having = {e.address.version for slice_ in slices for e in slice_.endpoints}
        for address in service.cluster_ips:
            sure = not facts.doubts.endpoints(service)
            if having and address.version not in having and sure:
                version = address.version
                message = (
                    f"has the IPv{version} address {address} and no IPv{version} endpoint: clients "
                    f"that choose it are refused; its pods need an IPv{version} address, or it "
                    "ipFamilyPolicy: SingleStack"
                )
                yield Finding(Cause(service.ref, "spec.ipFamilies"), "one-family", message)


def masked_affinity(facts: Facts) -> Iterator[Finding]:
    """Session affinity of Services that are reached by any node."""
    for service in facts.cluster.services.values():
        outer = bool(service.external_ips or service.load_balancer_ips) or any(
            port.node_port for port in service.ports
        )
        if service.affinity_seconds and outer and not service.external_local:
            message = (
                "is by the client's address and kept by each node for itself: a client from "
                "outside that comes by another node the next time may get another endpoint, and "
                "clients behind one masquerading load balancer or gateway all get the same one; "
                "where that matters, keep sessions by a cookie in front"
            )
            yield Finding(Cause(service.ref, "spec.sessionAffinity"), "affinity-masked", message)


def masqueraded_clients(facts: Facts) -> Iterator[Finding]:
    """IpBlocks of clients outside, at pods that these reach with a node's address only."""
    for service in facts.cluster.services.values():
        if service.external_local:
            continue
        for port in service.ports:
            if port.node_port or service.external_ips or service.load_balancer_ips:
                yield from _of_port(facts, service, port)
                break


def _of_port(facts: Facts, service: Service, port: ServicePort) -> Iterator[Finding]:
    """One finding for each ipBlock; pods of one node and the same policies stand for each other."""
    told: set[Cause] = set()
    seen: set[tuple[str, int, tuple[NetworkPolicy, ...]]] = set()
    for slice_ in facts.cluster.slices_of(service):
        for endpoint in slice_.endpoints:
            for pod in facts.cluster.pods_at(endpoint.address):
                policies = facts.cluster.policies_on(pod)
                alike = (pod.node, endpoint.address.version, policies)
                if alike in seen:
                    continue
                seen.add(alike)
                for cause, block in (each for policy in policies for each in _blocks(policy)):
                    client = _client(facts.cluster, block)
                    if cause in told or client is None:
                        continue
                    if client.version != endpoint.address.version:
                        continue
                    message = _masqueraded(facts, service, port, pod, client)
                    if message:
                        told.add(cause)
                        yield Finding(cause, "masqueraded-clients", message)


def _blocks(policy: NetworkPolicy) -> Iterator[tuple[Cause, Block]]:
    for rule in policy.ingress:
        for peer in rule.peers:
            if isinstance(peer, Block):
                yield Cause(policy.ref, f"{rule.field}.from"), peer


def _client(cluster: Cluster, block: Block) -> IPAddress | None:
    """An address outside the cluster that this block takes."""
    for offset in range(1, min(block.prefix.num_addresses, 5)):
        address = block.prefix[offset]
        own = cluster.nodes_at(address) or cluster.pods_at(address)
        if not own and not any(address in part for part in block.excepted):
            around = next(cluster.nodes_around(address), None)
            return address if around is None else None
    return block.prefix.network_address if block.prefix.num_addresses == 1 else None


def _masqueraded(
    facts: Facts, service: Service, port: ServicePort, pod: Pod, client: IPAddress
) -> str:
    """The sentence, if the client is kept out by way of another node, and let in by Local."""
    other = _entrance(facts.cluster, pod, client, elsewhere=True)
    own = _entrance(facts.cluster, pod, client, elsewhere=False)
    if other is None or own is None:
        return ""
    dialled = [node.address(client.version) for node in (other, own)]
    if not port.node_port or None in dialled:
        return ""
    first, second = (
        packet_of(client, address, port.protocol, port.node_port)
        for address in dialled
        if address is not None
    )
    if arrives(facts.cluster, first, entering=other.name):
        return ""
    local = _local(service)
    if not arrives(facts.cluster, second, local, entering=own.name):
        return ""
    return (
        f"clients that come in by another node's port {port.node_port} of {known_as(service.ref)} "
        f"reach {named(pod.ref)} with that node's address, which no rule takes; "
        "externalTrafficPolicy: Local keeps their own"
    )


def _entrance(cluster: Cluster, pod: Pod, client: IPAddress, *, elsewhere: bool) -> Node | None:
    nodes = [node for _, node in sorted(cluster.nodes.items()) if node.address(client.version)]
    return next((node for node in nodes if (node.name != pod.node) is elsewhere), None)


def _local(service: Service) -> Edit:
    """The edit that sets externalTrafficPolicy: Local."""

    def edit(cluster: Cluster) -> Cluster:
        changed = msgspec.structs.replace(service, external_local=True)
        services = {**cluster.services, (service.namespace, service.name): changed}
        return msgspec.structs.replace(cluster, services=services)

    return edit
