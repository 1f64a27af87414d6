"""What a change does, or the part of it that was asked for."""

from collections.abc import Iterator

import msgspec

from steppe.cli.diff_document import Found
from steppe.cli.reach_answer import focused_by
from steppe.cli.source import BadInput
from steppe.kube.cluster import Name
from steppe.manifests.cluster import Loaded
from steppe.net.ports import EVERYTHING, PortSet
from steppe.reach.difference import Difference, FlowChange
from steppe.reach.ends import Ends
from steppe.reach.matrix import Mask
from steppe.reach.names import Names, member_name, workloads_of
from steppe.reach.offer_changes import OfferChange
from steppe.reach.reach import Reach
from steppe.reach.tables import table_changes
from steppe.settings import Settings


class Asked(msgspec.Struct, frozen=True):
    """Which flows are looked at: from and to these ends, on these ports; and whether tables are."""

    focus: tuple[str, ...] = ()
    ports: PortSet = EVERYTHING
    tables: bool = True


def found_by(old: Loaded, new: Loaded, settings: tuple[Settings, Settings], asked: Asked) -> Found:
    """The effects of a change; BadInput if the focus is in neither state."""
    workloads = {**workloads_of(old.objects), **workloads_of(new.objects)}
    ends = (old.cluster, new.cluster, asked.ports, settings[0])
    difference, focus, names = Difference(*ends), 0, frozenset[str]()
    if asked.focus:
        names = _focused(old, new, difference, asked)
        difference = Difference(*ends, lambda member: member_name(member) in names)
        focus = _groups(difference, names)
    changes = None
    if asked.tables:
        changes = table_changes((settings[0], old.cluster), (settings[1], new.cluster))
    return Found(
        difference,
        Names(difference.groups, workloads),
        tuple(_flows(difference, focus)),
        tuple(_offers(difference, focus, names)),
        changes,
    )


def _focused(old: Loaded, new: Loaded, difference: Difference, asked: Asked) -> frozenset[str]:
    """The names of the members, in whichever of the states they are."""
    found: set[str] = set()
    for text in asked.focus:
        missing: BadInput | None = None
        known: set[str] = set()
        for loaded, reach in ((old, difference.before), (new, difference.after)):
            ends = Ends(reach, Names(reach.groups, workloads_of(loaded.objects)))
            try:
                known |= focused_by(loaded, ends, (text,))
            except BadInput as error:
                missing = error
        if not known and missing is not None:
            raise missing
        found |= known
    return frozenset(found)


def _groups(difference: Difference, names: frozenset[str]) -> Mask:
    return sum(
        1 << number
        for number, group in enumerate(difference.groups)
        if member_name(group.members[0]) in names
    )


def _flows(difference: Difference, focus: Mask) -> Iterator[FlowChange]:
    for change in difference.flows():
        if not focus or focus >> change.receiver & 1:
            yield change
        elif change.senders & focus:
            yield msgspec.structs.replace(change, senders=change.senders & focus)


def _offers(difference: Difference, focus: Mask, names: frozenset[str]) -> Iterator[OfferChange]:
    for change in difference.offers():
        namespace, _, name = change.service.partition("/")
        states = (difference.before, difference.after)
        if not focus or any(_leads_to(state, (namespace, name), focus) for state in states):
            yield change
        elif change.senders & focus and (not change.only or change.only & names):
            senders, only = change.senders & focus, change.only & names
            yield msgspec.structs.replace(change, senders=senders, only=only)


def _leads_to(state: Reach, name: Name, focus: Mask) -> bool:
    service = state.cluster.services.get(name)
    slices = state.cluster.slices_of(service) if service is not None else ()
    groups = (state.group_at(e.address) for slice_ in slices for e in slice_.endpoints)
    return any(group is not None and focus >> group & 1 for group in groups)
