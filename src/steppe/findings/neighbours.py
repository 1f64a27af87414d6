"""Permanent neighbour entries for other nodes' addresses, which are not resolved any more."""

from collections.abc import Iterator

from steppe.findings.finding import Affected, Finding
from steppe.findings.known import Known
from steppe.kube.objects import Node
from steppe.net.address import host_prefix
from steppe.state.surroundings import Surroundings


def judge(around: Surroundings, known: Known) -> Iterator[Finding]:
    by_address = {address: peer for peer in known.peers for address in peer.addresses}
    for entry in around.neighbours:
        peer = by_address.get(entry.address)
        mac = peer.underlay.mac if peer is not None else ""
        if peer is None or entry.link != known.uplink or entry.mac == mac:
            continue
        six = "-6 " if entry.address.version == 6 else ""
        networks = tuple(n for n in peer.networks if n.version == entry.address.version)
        yield Finding(
            "neighbour",
            f"neighbour {entry.address} dev {entry.link} lladdr {entry.mac} PERMANENT",
            f"all that goes to {peer.name} and its pods by {entry.address} is sent to this MAC "
            f"address: it is lost{_because(peer, mac)}",
            f"`ip {six}neighbour del {entry.address} dev {entry.link}`: it is then resolved again",
            sure=bool(mac),
            walked=bool(mac),
            affects=(Affected(destinations=(*networks, host_prefix(entry.address))),),
        )


def _because(peer: Node, mac: str) -> str:
    link = f"{peer.name}'s {peer.underlay.link}"
    return f", for {link} has {mac}" if mac else f" if {link} has another one"
