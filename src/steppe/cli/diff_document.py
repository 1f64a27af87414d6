"""The effects of a change, and their JSON document `steppe.diff/v1`."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from steppe.cli.diff_text import perhaps, ports_of, why_text
from steppe.plan.diff import Change
from steppe.reach.difference import Difference, FlowChange
from steppe.reach.document import groups_json, ports_json
from steppe.reach.matrix import bits
from steppe.reach.names import Names
from steppe.reach.offer_changes import OfferChange

SCHEMA = "steppe.diff/v1"


class Found(msgspec.Struct, frozen=True):
    """All effects of a change.

    `tables` is None if the cluster is too large to compute them unasked.
    """

    difference: Difference
    names: Names
    flows: tuple[FlowChange, ...]
    offers: tuple[OfferChange, ...]
    tables: Mapping[str, Sequence[Change]] | None

    @property
    def opens(self) -> bool:
        return any(c.opened for c in self.flows) or any(c.opens for c in self.offers)

    @property
    def closes(self) -> bool:
        return any(c.closed for c in self.flows) or any(c.closes for c in self.offers)

    @property
    def anything(self) -> bool:
        """Whether anything changes for certain."""
        sure = any(c.opened or c.closed for c in self.flows)
        return sure or any(not c.unknown for c in self.offers) or bool(self.tables)

    @property
    def may_open(self) -> bool:
        return any(c.may_open for c in self.flows) or any(c.may_open for c in self.offers)

    @property
    def may_close(self) -> bool:
        return any(c.may_close for c in self.flows) or any(c.may_close for c in self.offers)


def diff_document(found: Found) -> dict[str, Any]:
    """The document; groups are referred to by index.

    `unknown` is what may change: in one of the states it is not known what policies say.
    """
    tables = None
    if found.tables is not None:
        tables = {node: [str(c) for c in changes] for node, changes in found.tables.items()}
    return {
        "schema": SCHEMA,
        "opens": found.opens,
        "closes": found.closes,
        "mayOpen": found.may_open,
        "mayClose": found.may_close,
        "groups": groups_json(found.difference.groups, found.names),
        "flows": [_flow(found.difference, change) for change in found.flows],
        "services": [_offer(found.difference, change) for change in found.offers],
        "tables": tables,
    }


def _flow(difference: Difference, change: FlowChange) -> dict[str, Any]:
    found: dict[str, Any] = {"from": list(bits(change.senders)), "to": change.receiver}
    for word, opened in (("allowed", True), ("denied", False)):
        ports = ports_of(change, opened=opened)
        if ports:
            found[word] = {
                "ports": {family: ports_json(known) for family, known in ports.items()},
                "because": why_text(difference.because(change, opened=opened)),
            }
    if change.unknown:
        doubts = list(map(str, difference.doubts(change)))
        found["unknown"] = [
            {"perhaps": word, "ports": ports_json(ports), "hangsOn": doubts}
            for word, ports in perhaps(change).items()
        ]
    return found


def _offer(difference: Difference, change: OfferChange) -> dict[str, Any]:
    hangs = difference.offer_doubts(change) if change.unknown else ()
    return {
        "service": change.service,
        "protocol": change.protocol,
        "port": change.port,
        "family": f"IPv{change.version}",
        "way": change.way or None,
        "from": list(bits(change.senders)),
        "only": sorted(change.only),
        "but": sorted(change.but),
        "nodes": sorted(change.nodes),
        "before": msgspec.to_builtins(change.before),
        "after": msgspec.to_builtins(change.after),
        "hangsOn": list(map(str, hangs)),
    }
