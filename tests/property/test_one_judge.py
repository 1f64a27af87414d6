"""One judge: on random clusters its verdict is the oracle's, packet by packet, and explain, reach,
`--assert`, diff and lint say the same.

STEPPE_WORLDS is how many clusters each test draws (default: few, the same ones each time).
"""

import os
import sys
from collections import Counter

import msgspec
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from steppe.ends.target import NodeTarget, PodTarget, RangeTarget, ServiceTarget
from steppe.explain.explain import Explainer
from steppe.explain.model import Flow
from steppe.judge.judge import is_own_node
from steppe.judge.verdict import Verdict
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node, Pod
from steppe.lint.lint import lint
from steppe.manifests.cluster import Loaded
from steppe.net.address import IPAddress, host_prefix, of_version
from steppe.net.packet import Packet
from steppe.net.ports import one_port
from steppe.oracle.promised_path import Oracle, PromisedPath
from steppe.reach.difference import Difference
from steppe.reach.ends import Chosen, Ends
from steppe.reach.expect import failures
from steppe.reach.names import Names, member_name
from steppe.reach.offer_changes import OUTSIDE
from steppe.reach.outside import Outside
from steppe.reach.reach import reach_of
from steppe.reach.services import Offer, Offers, Outcome, outcome_of
from tests.judge_worlds import BALANCERS, PORTS, RANGES, STRANGERS, clusters, packets

WORLDS = int(os.environ.get("STEPPE_WORLDS", "0"))


def drawn(default: int) -> settings:
    """How many clusters; the default ones are always the same, so that counts can be asserted."""
    # A world is small as it is, and to make a failing one smaller takes minutes.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    return settings(
        max_examples=WORLDS or default, deadline=None, derandomize=not WORLDS, phases=phases
    )


def as_said(paths: tuple[PromisedPath, ...]) -> str:
    """The oracle's paths in the words of a verdict."""
    seen = {path.fate == "delivered" for path in paths}
    return "partly" if len(seen) > 1 else "yes" if True in seen else "no"


def ends_of(paths: tuple[PromisedPath, ...]) -> set[object]:
    """Where the paths end, whom the receiver sees, and whether they get there."""
    return {
        (p.received.destination, p.received.destination_port, p.received.source, p.fate)
        for p in paths
        if p.fate in ("delivered", "denied")
    }


def ways_of(said: Verdict) -> set[object]:
    return {
        (w.address, w.port, w.received, "delivered")
        if w.said == "yes"
        else (w.address, w.port, w.source, "denied")
        for w in said.ways
        if not w.lost
    }


def branches(cluster: Cluster, packet: Packet, paths: tuple[PromisedPath, ...]):
    """What decides about these paths, in words, to count what the generator reaches."""
    yield f"IPv{packet.source.version}"
    yield as_said(paths)
    outside = packet.source in STRANGERS
    for path in paths:
        who = "outside" if outside else "node" if cluster.nodes_at(packet.source) else "pod"
        if path.stop is not None:
            yield f"{path.stop.reason} from {who}"
            continue
        yield f"{path.kind} {path.fate} from {who}"
        yield f"by {path.ingress.by}" if path.ingress.by != "no pod" else f"by {path.egress.by}"
        if not path.served:
            continue
        done = path.served[-1]
        yield f"served {who} {_dialled(cluster, packet)}"
        yield "served by the dialled node" if done.node != path.entered else "served at once"
        if path.received.source != packet.source:
            yield f"masqueraded {path.fate}"
        elif packet.source in STRANGERS:
            yield f"kept source {path.fate}"
        if done.endpoint.source == done.endpoint.destination:
            yield f"itself through a Service {path.fate}"
        if path.ingress.by == "own node" and who == "node":
            yield "own node through a Service"


def _dialled(cluster: Cluster, packet: Packet) -> str:
    for service in cluster.services_at(packet.destination):
        for kind in ("cluster_ips", "external_ips", "load_balancer_ips"):
            if packet.destination in getattr(service, kind):
                return kind
    return "node port"


WANTED = """
    IPv4, IPv6, yes, no, partly
    no endpoint from pod, no endpoint from outside, no endpoint from node
    not admitted from pod, not admitted from outside, not admitted from node
    no local endpoint from pod, no local endpoint from outside, no local endpoint from node
    no such port from pod, service range from pod, no pod from pod
    pod from outside from outside, unknown from outside from outside
    pod delivered from pod, pod denied from pod, pod delivered from node, pod denied from node
    pod delivered from outside, pod denied from outside
    node delivered from outside, outside delivered from pod, outside denied from pod
    by own node, by itself, by default, by NetworkPolicy, by Admin, by Baseline
    served pod cluster_ips, served pod external_ips, served pod load_balancer_ips
    served pod node port, served node cluster_ips, served node node port
    served outside cluster_ips, served outside external_ips, served outside load_balancer_ips
    served outside node port, served by the dialled node, served at once
    masqueraded delivered, masqueraded denied, kept source delivered, kept source denied
    itself through a Service delivered, itself through a Service denied
    own node through a Service
"""


def wanted() -> set[str]:
    texts = (text.strip() for line in WANTED.splitlines() for text in line.split(","))
    return {text for text in texts if text}


class Asked:
    """One cluster, asked by reach, --assert, explain and lint; and by the judge, which they ask."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.reach = reach_of(cluster)
        self.judge = self.reach.judge
        self._verdicts: dict[tuple[Packet, str], Verdict] = {}
        self.offers = Offers(self.reach)
        self.outside = Outside(self.offers)
        self.ends = Ends(self.reach, Names(self.reach.groups, {}))
        self.groups = {
            member_name(m): i for i, group in enumerate(self.reach.groups) for m in group.members
        }
        self.members = [m for group in self.reach.groups for m in group.members]
        self.inside = [m for m in self.members if isinstance(m, Pod | Node)]

    def verdict(self, packet: Packet, entering: str = "") -> Verdict:
        """The judge's verdict; it depends on the cluster alone, so it is asked for once."""
        key = (packet, entering)
        if key not in self._verdicts:
            self._verdicts[key] = self.judge.verdict(packet, entering)
        return self._verdicts[key]

    def outcome(self, packet: Packet, entering: str = "") -> Outcome:
        return outcome_of(self.verdict(packet, entering))


def verdicts_are_the_oracles(asked: Asked) -> Counter[str]:
    """Packet by packet; what the paths come to, to count it."""
    oracle, met = Oracle(asked.cluster), Counter[str]()
    for packet, entering in packets(asked.cluster):
        paths = oracle.paths(packet, entering)
        said = asked.verdict(packet, entering)
        assert said.said == as_said(paths), (packet, entering, said, paths)
        assert ways_of(said) == ends_of(paths), (packet, entering, said, paths)
        met.update(set(branches(oracle.cluster, packet, paths)))
    return met


def packet_of(source: IPAddress, destination: IPAddress, protocol: str, port: int) -> Packet:
    return Packet(source, destination, protocol, 40000, port)  # type: ignore[arg-type]


def address(end: object, version: int) -> IPAddress | None:
    if isinstance(end, Pod | Node):
        return of_version(end.addresses, version)
    return end if end.version == version else None  # type: ignore[attr-defined, return-value]


def rows_are_verdicts(asked: Asked) -> None:
    """Rows of pairs: what they say is open is a yes, and what they say is closed is a no."""
    served = {
        port.node_port for service in asked.cluster.services.values() for port in service.ports
    }
    for here in (*asked.inside, *STRANGERS):
        for there in (*asked.inside, *STRANGERS):
            if not isinstance(here, Pod) and not isinstance(there, Pod):
                continue
            if not isinstance(here, Pod | Node) and isinstance(there, Pod):
                continue  # rows say what policies would let in; no packet is promised to arrive
            sender, receiver = (
                asked.groups[member_name(end)]
                if isinstance(end, Pod | Node)
                else asked.reach.group_at(end)
                for end in (here, there)
            )
            rows = list(asked.reach.rows(receiver, 1 << sender, exactly=True))
            for version in (4, 6):
                source, destination = address(here, version), address(there, version)
                if source is None or destination is None:
                    continue
                for protocol, port in PORTS:
                    if isinstance(there, Node) and port in served:
                        continue  # a Service's, see below
                    said = asked.verdict(packet_of(source, destination, protocol, port))
                    (row,) = rows
                    exact = here != there and not is_own_node(here, there)
                    if exact or row.always:
                        ports = row.version(version)
                        assert ports.holds(protocol, port) == (said.said == "yes"), (here, there)


def offers_are_verdicts(asked: Asked) -> None:
    """Services for senders inside: at cluster IPs, and at any address that is dialled."""
    for offer in asked.offers.all:
        found = {
            member_name(m): row.outcome
            for row in asked.offers.rows(offer)
            for m in asked.offers.members(row)
        }
        for sender in asked.inside:
            source = address(sender, offer.version)
            if source is None:
                continue
            packet = packet_of(source, offer.address, offer.port.protocol, offer.port.port)
            assert found[member_name(sender)] == asked.outcome(packet), (offer, sender)


def at_entrances(asked: Asked, offer: Offer, stranger: IPAddress) -> dict[str, Outcome]:
    """What reach says of a host outside, by the node at which it comes in."""
    number = asked.reach.group_at(stranger)
    found = {}
    for row in asked.outside.rows(offer, 1 << number):
        for name in row.view.nodes or asked.cluster.nodes:
            found[name] = row.outcome
    assert found
    return found


def ways_in_are_verdicts(asked: Asked) -> None:
    """Services for senders outside, by each node at which their packets come in."""
    for offer in asked.outside.all:
        for stranger in STRANGERS:
            if stranger.version != offer.version:
                continue
            said = at_entrances(asked, offer, stranger)
            for node in asked.cluster.nodes.values():
                to, port = offer.address, offer.port.port
                if offer.kind == "node":
                    to, port = node.address(offer.version), offer.port.node_port
                local = offer.service.external_local
                if to is None or node.address(offer.version) is None:
                    continue
                packet = packet_of(stranger, to, offer.port.protocol, port)
                found = asked.outcome(packet, node.name)
                # With policy Local, packets come in where the endpoints are, if there are any.
                if not (local and found.said == "dropped" and said.get(node.name) != found):
                    assert said[node.name] == found, (offer, stranger, node.name)


def expectations_are_verdicts(asked: Asked) -> None:
    """`--assert`: allowed is met if every verdict is a yes, denied if none is."""
    for offer in (*asked.offers.all, *asked.outside.all):
        outer = offer.kind != "cluster"
        senders = STRANGERS if outer else asked.inside
        receivers = Chosen(ways=(offer,)) if outer else Chosen(offers=(offer,))
        for sender in senders:
            if address(sender, offer.version) is None:
                continue
            if outer:
                outcomes = set(at_entrances(asked, offer, sender).values())
                member = asked.reach.groups[asked.reach.group_at(sender)].members[0]
            else:
                outcomes, member = {asked.offers.outcome(sender, offer)}, sender
            chosen = Chosen((member,))
            ports = one_port(offer.port.protocol, offer.port.port)
            unmet = list(failures(asked.reach, chosen, receivers, ports, allowed=True))
            assert (not unmet) == all(each.said == "allowed" for each in outcomes), offer
            unmet = list(failures(asked.reach, chosen, receivers, ports, allowed=False))
            assert (not unmet) == (not any(each.open for each in outcomes)), offer


def explanations_are_verdicts(asked: Asked, data: st.DataObject) -> None:
    """Explain: the kind is what reach says, and its paths agree with the judge."""
    explainer = Explainer(asked.cluster)
    kinds = {"allowed": "allowed", "partly": "partly"}
    some = [
        (sender, offer)
        for offer in asked.offers.all
        for sender in asked.inside
        if address(sender, offer.version) is not None
    ]
    for sender, offer in data.draw(st.lists(st.sampled_from(some), max_size=6)) if some else ():
        source = target_of(sender)
        flow = Flow(source, ServiceTarget(offer.service, offer.service.cluster_ips), *of(offer))
        said = explainer.explain(flow, offer.version)
        assert said.conflicts == ()
        outcome = asked.offers.outcome(sender, offer)
        assert said.kind == kinds.get(outcome.said, "denied"), (flow, outcome)
    for service in asked.cluster.services.values():
        ways = list(asked.outside.of_service(service))
        for stranger in STRANGERS:
            for port in service.ports:
                own = [w for w in ways if w.port == port and w.version == stranger.version]
                if not own:
                    continue
                outcomes = {o for way in own for o in at_entrances(asked, way, stranger).values()}
                whole = RangeTarget(str(stranger), (host_prefix(stranger),))
                target = ServiceTarget(service, service.cluster_ips)
                flow = Flow(whole, target, port.protocol, port.port)
                said = explainer.explain(flow)
                assert said.conflicts == ()
                assert said.kind == together(outcomes), (flow, outcomes, said.verdict)


def of(offer: Offer) -> tuple[str, int]:
    return offer.port.protocol, offer.port.port


def target_of(member: Pod | Node) -> PodTarget | NodeTarget:
    kind = PodTarget if isinstance(member, Pod) else NodeTarget
    return kind(member, member.addresses)


def together(outcomes: set[Outcome]) -> str:
    if all(each.said == "allowed" for each in outcomes):
        return "allowed"
    return "partly" if any(each.open for each in outcomes) else "denied"


def findings_are_verdicts(asked: Asked) -> None:
    """Lint: a Service that is called closed to all takes no pod but its own endpoints."""
    for found in lint(Loaded(asked.cluster)):
        if found.check != "all-denied":
            continue
        ref, index = found.cause.ref, int(found.cause.field.removeprefix("spec.ports[")[:-1])
        service = asked.cluster.services[ref.namespace, ref.name]
        mine = [
            o for o in asked.offers.all if (o.service, o.port) == (service, service.ports[index])
        ]
        assert any(is_closed(asked, offer) for offer in mine), found


def is_closed(asked: Asked, offer: Offer) -> bool:
    """Whether no pod but the endpoints themselves reaches any endpoint, in this family."""
    own = {backend.address for view in offer.views for backend in view.backends}
    pods = (m for m in asked.inside if isinstance(m, Pod) and own.isdisjoint(m.addresses))
    return all(asked.offers.outcome(pod, offer).open == 0 for pod in pods)


@st.composite
def changed_services(draw: st.DrawFn, cluster: Cluster) -> Cluster:
    """The cluster with one of its Services changed in what decides about senders outside."""
    name = draw(st.sampled_from(sorted(cluster.services)))
    old = cluster.services[name]
    new = draw(
        st.sampled_from(
            [
                {"external_local": not old.external_local},
                {"internal_local": not old.internal_local},
                {"source_ranges": RANGES[:1], "restricted": True},
                {"load_balancer_ips": BALANCERS},
                {"load_balancer_ips": (), "external_ips": ()},
                {"ports": tuple(msgspec.structs.replace(p, node_port=0) for p in old.ports)},
            ]
        )
    )
    services = {**cluster.services, name: msgspec.structs.replace(old, **new)}
    return msgspec.structs.replace(cluster, services=services)


def told(asked: Asked, stranger: IPAddress) -> dict[tuple[object, ...], set[Outcome]]:
    """The outcomes of a host outside at each Service port's first way in."""
    found: dict[tuple[object, ...], set[Outcome]] = {}
    for offer in asked.outside.all:
        key = (offer.service.ref.name, offer.port.port, offer.version)
        if key not in found and stranger.version == offer.version:
            rows = asked.outside.rows(offer, 1 << asked.reach.group_at(stranger))
            found[key] = {row.outcome for row in rows}
    return found


def differences_are_what_reach_says(asked: Asked, changed: Cluster) -> None:
    """Diff: what it says before and after is what reach says of each state."""
    difference, after = Difference(asked.cluster, changed), Asked(changed)
    changes = [change for change in difference.offers() if change.way == OUTSIDE]
    for stranger in STRANGERS:
        was, will = told(asked, stranger), told(after, stranger)
        group = difference.after.group_at(stranger)
        for key in was.keys() | will.keys():
            mine = {
                (c.before.said, c.after.said)
                for c in changes
                if (c.service, c.port, c.version) == (f"x/{key[0]}", *key[1:])
                and c.senders >> group & 1
            }
            old, new = (
                {each.said for each in side.get(key, {Outcome("absent")})} for side in (was, will)
            )
            if len(old) == len(new) == 1 and "partly" not in old | new:
                assert mine == ({(*old, *new)} if old != new else set()), (key, stranger)
            assert all(before in old and now in new for before, now in mine)


def test_every_answer_is_the_oracles_and_every_branch_is_met(record_property) -> None:
    met: Counter[str] = Counter()

    # Each world is built once and asked everything: a judge and its verdicts are what costs most.
    @drawn(60)
    @given(clusters(), st.data())
    def check(cluster: Cluster, data: st.DataObject) -> None:
        asked = Asked(cluster)
        met.update(verdicts_are_the_oracles(asked))
        rows_are_verdicts(asked)
        offers_are_verdicts(asked)
        ways_in_are_verdicts(asked)
        expectations_are_verdicts(asked)
        explanations_are_verdicts(asked, data)
        findings_are_verdicts(asked)
        differences_are_what_reach_says(asked, data.draw(changed_services(cluster)))
        met["worlds"] += 1
        if WORLDS and met["worlds"] % 50 == 0:
            print(f"{met['worlds']} of {WORLDS} worlds are clean", file=sys.__stderr__, flush=True)

    check()
    for text in sorted(wanted()):
        record_property(text, met[text])
    missing = {text for text in wanted() if not met[text]}
    assert not missing, missing
