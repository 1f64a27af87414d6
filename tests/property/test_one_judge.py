"""One judge: on random clusters its verdict is the oracle's, packet by packet, and explain, reach,
`--assert`, diff and lint say the same.

STEPPE_WORLDS is how many clusters each test draws (default: few, the same ones each time).
"""

import os
from collections import Counter

from hypothesis import Phase, given, settings

from steppe.judge.judge import judge_of
from steppe.judge.verdict import Verdict
from steppe.kube.cluster import Cluster
from steppe.net.packet import Packet
from steppe.oracle.promised_path import Oracle, PromisedPath
from tests.judge_worlds import STRANGERS, clusters, packets

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
    fates = {"yes": "delivered", "no": "denied"}
    return {(w.address, w.port, w.source, fates[w.said]) for w in said.ways if not w.lost}


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
        if path.received.source == path.received.destination:
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


def test_a_verdict_is_the_oracles_and_every_branch_is_met(record_property) -> None:
    met: Counter[str] = Counter()

    @drawn(60)
    @given(clusters())
    def check(cluster: Cluster) -> None:
        judge, oracle = judge_of(cluster), Oracle(cluster)
        for packet, entering in packets(cluster):
            paths = oracle.paths(packet, entering)
            said = judge.verdict(packet, entering)
            assert said.said == as_said(paths), (packet, entering, said, paths)
            assert ways_of(said) == ends_of(paths), (packet, entering, said, paths)
            met.update(set(branches(oracle.cluster, packet, paths)))

    check()
    for text in sorted(wanted()):
        record_property(text, met[text])
    missing = {text for text in wanted() if not met[text]}
    assert not missing, missing
