"""Permanent neighbour entries for other nodes' addresses, which are not resolved any more."""

from collections.abc import Iterator

from steppe.findings.finding import Affected, Finding
from steppe.findings.known import Known
from steppe.net.address import host_prefix
from steppe.state.surroundings import Surroundings

KIND = "neighbour"


def judge(around: Surroundings, known: Known) -> Iterator[Finding]:
    by_address = {address: peer for peer in known.peers for address in peer.addresses}
    for entry in around.neighbours:
        peer = by_address.get(entry.address)
        if peer is None or entry.link != known.uplink:
            continue
        six = "-6 " if entry.address.version == 6 else ""
        networks = tuple(n for n in peer.networks if n.version == entry.address.version)
        yield Finding(
            KIND,
            f"neighbour {entry.address} dev {entry.link} lladdr {entry.mac} PERMANENT",
            f"all that goes to {peer.name} and its pods by {entry.address} is sent to this MAC "
            f"address: it is lost if {peer.name}'s link has another one",
            f"`ip {six}neighbour del {entry.address} dev {entry.link}`: it is then resolved again",
            affects=(Affected(destinations=(*networks, host_prefix(entry.address))),),
        )
