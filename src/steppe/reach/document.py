"""Reach as a JSON document: `steppe.reach/v1`."""

from collections.abc import Iterable, Sequence
from typing import Any

from steppe.judge.classes import VERSIONS
from steppe.manifests.cluster import Loaded
from steppe.net.ports import PortSet
from steppe.reach.flows import Flow
from steppe.reach.groups import Group
from steppe.reach.matrix import Mask, bits
from steppe.reach.names import Names, member_name
from steppe.reach.reach import Reach
from steppe.reach.services import Offer, OfferRow

SCHEMA = "steppe.reach/v1"
ALWAYS = ("a pod reaches itself", "a node reaches the pods that it runs")

Json = dict[str, Any]


def reach_document(
    reach: Reach,
    names: Names,
    flows: Iterable[Flow],
    offers: Iterable[tuple[Offer, Sequence[OfferRow]]],
) -> Json:
    """Groups, the flows between them, and flows to Services; groups are referred to by index."""
    return {
        "schema": SCHEMA,
        "ports": ports_json(reach.wanted),
        "always": list(ALWAYS),
        "groups": groups_json(reach.groups, names),
        "flows": [_flow(flow) for flow in flows],
        "services": [_offer(offer, rows) for offer, rows in offers],
    }


def doubts_json(loaded: Loaded) -> Json:
    """What of the cluster is invented, wrong or incomplete."""
    return {
        "problems": [str(problem) for problem in loaded.problems],
        "gaps": list(loaded.gaps),
        "invented": sorted(map(str, loaded.invented)),
    }


def groups_json(groups: Sequence[Group], names: Names) -> list[Json]:
    return [
        {
            "kind": group.kind,
            "name": names.group(number),
            "members": [member_name(member) for member in group.members],
        }
        for number, group in enumerate(groups)
    ]


def ports_json(ports: PortSet) -> list[Json]:
    return [{"protocol": r.protocol, "first": r.first, "last": r.last} for r in ports.ranges]


def _flow(flow: Flow) -> Json:
    """A flow; `ports` has a key for each family that the ends have in common."""
    by_version = {version: flow.row.version(version) for version in VERSIONS}
    return {
        "from": _numbers(flow.senders),
        "to": flow.receiver,
        "ports": {f"IPv{v}": ports_json(p) for v, p in by_version.items() if p is not None},
        "unknown": ports_json(flow.row.unknown),
        "because": [str(cause) for cause in flow.because],
    }


def _offer(offer: Offer, rows: Sequence[OfferRow]) -> Json:
    """The results at one address of a Service; a node port has no address of its own.

    `way` is the kind of the address: "cluster", "balancer", "external", "node", or "none" for
    senders outside who have no way in. `nodes` are those of the senders inside, and those by which
    packets from outside come in.
    """
    return {
        "service": f"{offer.service.namespace}/{offer.service.name}",
        "way": offer.kind,
        "address": str(offer.address) if offer.address is not None else None,
        "family": f"IPv{offer.version}",
        "protocol": offer.port.protocol,
        "port": offer.port.port,
        "nodePort": offer.port.node_port or None,
        "answers": [
            {
                "from": _numbers(row.senders),
                "nodes": sorted(row.view.nodes),
                "outcome": row.outcome.said,
                "open": row.outcome.open,
                "unknown": row.outcome.unknown,
                "endpoints": row.outcome.endpoints,
                "only": sorted(row.only),
                "but": sorted(row.but),
            }
            for row in rows
        ],
    }


def _numbers(mask: Mask) -> list[int]:
    return list(bits(mask))
