"""The part of reach that `steppe reach` was asked for."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import msgspec

from steppe.cli.refused import unknown_end
from steppe.cli.source import BadInput
from steppe.errors import SteppeError
from steppe.kube.cluster import Name
from steppe.kube.services import Service
from steppe.manifests.cluster import Loaded
from steppe.net.address import IPNetwork
from steppe.net.ports import EVERYTHING, PortSet, one_port, parse_ports
from steppe.reach.ends import Chosen, Ends, asked_prefixes
from steppe.reach.flows import Flow, flows_to
from steppe.reach.groups import Member
from steppe.reach.matrix import Mask, bits
from steppe.reach.names import Names, member_name, workloads_of
from steppe.reach.outside import Outside
from steppe.reach.reach import Reach, reach_of
from steppe.reach.services import Offer, OfferRow, Offers


class Question(msgspec.Struct, frozen=True):
    """What was asked about a cluster; without ends everyone, and without ports every port.

    `focus`: only flows from and to these.
    """

    senders: tuple[str, ...] = ()
    receivers: tuple[str, ...] = ()
    ports: PortSet = EVERYTHING
    namespace: str = ""
    focus: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """The part of reach that was asked for; `focus` is 0 where no flows are left out by it."""

    reach: Reach
    names: Names
    senders: Mask
    receivers: Mask
    offers: tuple[Offer, ...]
    ways: tuple[Offer, ...] = ()
    dialled: tuple[Offer, ...] = ()
    exactly: bool = False
    focus: Mask = 0

    def flows(self) -> Iterator[tuple[Flow, ...]]:
        """The flows to each receiver that has any."""
        for receiver in bits(self.receivers):
            senders = self.senders
            if self.focus and not self.focus >> receiver & 1:
                senders &= self.focus
            found = flows_to(self.reach, receiver, senders, exactly=self.exactly)
            if found:
                yield found

    def services(self) -> Iterator[tuple[Offer, Sequence[OfferRow]]]:
        """The senders' outcomes at each Service port, those inside and those outside."""
        offers = Offers(self.reach)
        outside = Outside(offers)
        rows = [(offer, offers.rows(offer, self._callers(offer))) for offer in self.offers]
        rows += ((offer, outside.inside_rows(offer, self.senders)) for offer in self.dialled)
        rows += (
            (offer, outside.rows(offer, self._callers(offer)))
            for offer in (*self.ways, *self.dialled)
        )
        found = ((offer, tuple(some)) for offer, some in rows)
        yield from ((offer, rows) for offer, rows in found if rows)

    def _callers(self, offer: Offer) -> Mask:
        """Who is asked about at a Service: all, if it leads to the focus, and else the focus."""
        if not self.focus or self._leads_to_focus(offer.service):
            return self.senders
        return self.senders & self.focus

    def _leads_to_focus(self, service: Service) -> bool:
        endpoints = (e for s in self.reach.cluster.slices_of(service) for e in s.endpoints)
        groups = (self.reach.group_at(endpoint.address) for endpoint in endpoints)
        return any(group is not None and self.focus >> group & 1 for group in groups)


def ports_of(texts: tuple[str, ...]) -> PortSet:
    """The ports that options name; every port if there are none."""
    found = PortSet()
    for text in texts:
        try:
            found |= parse_ports(text)
        except ValueError as error:
            raise BadInput(f"--port: {error}") from error
    return found if texts else EVERYTHING


def answer(loaded: Loaded, question: Question) -> Answer:
    """Reach, with the ends that were asked for in groups of their own."""
    workloads = workloads_of(loaded.objects)
    ends_written = (*question.senders, *question.receivers, *question.focus)
    prefixes = tuple(asked_prefixes(ends_written))
    whole = reach_of(loaded.cluster, question.ports, prefixes=prefixes, settings=loaded.settings)
    ends = Ends(whole, Names(whole.groups, workloads), question.namespace)
    senders = _chosen(loaded, ends, question.senders, "--from")
    receivers = _chosen(loaded, ends, question.receivers, "--to")
    if any(chosen.is_service for chosen in senders):
        raise BadInput("--from: a Service does not send; name the pods behind it")
    focus = focused_by(loaded, ends, question.focus)
    written = [chosen.ports for chosen in receivers if chosen.ports is not None]
    ports = question.ports
    if written and ports == EVERYTHING:
        ports = _together(written)
    return _answer(_Asked(loaded, workloads, ports, prefixes), senders, receivers, focus)


def focused(loaded: Loaded, question: Question) -> frozenset[str]:
    """The names of the members that --focus means."""
    known = reach_of(loaded.cluster, settings=loaded.settings)
    ends = Ends(known, Names(known.groups, workloads_of(loaded.objects)), question.namespace)
    return focused_by(loaded, ends, question.focus)


def focused_by(loaded: Loaded, ends: Ends, texts: tuple[str, ...]) -> frozenset[str]:
    """The names of the members that these texts mean; BadInput for what is none, or a Service."""
    some = _chosen(loaded, ends, texts, "--focus")
    if any(chosen.is_service for chosen in some):
        raise BadInput("--focus: a Service is no end of a flow; name the pods behind it")
    return frozenset(member_name(m) for chosen in some for m in chosen.members)


class _Asked(msgspec.Struct, frozen=True):
    """A cluster, and what is asked about it except the ends."""

    loaded: Loaded
    workloads: Mapping[Name, str]
    ports: PortSet
    prefixes: tuple[IPNetwork, ...]


def _answer(
    asked: _Asked,
    senders: Sequence[Chosen],
    receivers: Sequence[Chosen],
    focus: frozenset[str],
) -> Answer:
    sending, receiving = (
        {member_name(m) for chosen in some for m in chosen.members} for some in (senders, receivers)
    )

    def mark(member: Member) -> tuple[bool, bool, bool]:
        name = member_name(member)
        return name in sending, name in receiving, name in focus

    loaded = asked.loaded
    found = reach_of(loaded.cluster, asked.ports, mark, asked.prefixes, loaded.settings)
    offers = tuple(offer for chosen in receivers for offer in chosen.offers)
    ways = tuple(offer for chosen in receivers for offer in chosen.ways)
    if not receivers:
        inside = Offers(found)
        offers, ways = inside.all, Outside(inside).all
    dialled = tuple(offer for chosen in receivers for offer in chosen.dialled)
    return Answer(
        found,
        Names(found.groups, asked.workloads),
        _groups(found, sending) if senders else found.everyone,
        _groups(found, receiving) if receivers else found.everyone,
        _at_ports(offers, asked.ports),
        _at_ports(ways, asked.ports),
        _at_ports(dialled, asked.ports),
        exactly=bool(senders),
        focus=_groups(found, focus),
    )


def _at_ports(offers: Iterable[Offer], ports: PortSet) -> tuple[Offer, ...]:
    """The offers at the ports that were asked for: the Service's own, or its node port."""
    return tuple(
        offer
        for offer in offers
        if any(
            number and one_port(offer.port.protocol, number) & ports
            for number in (offer.port.port, offer.port.node_port if offer.kind == "node" else 0)
        )
    )


def _chosen(loaded: Loaded, ends: Ends, texts: tuple[str, ...], option: str) -> tuple[Chosen, ...]:
    try:
        return tuple(ends.chosen(text) for text in texts)
    except SteppeError as error:
        raise unknown_end(loaded, SteppeError(f"{option}: {error}"), *texts) from error


def _groups(found: Reach, names: Collection[str]) -> Mask:
    """The groups of these members (which contain nobody else)."""
    mask = 0
    for number, group in enumerate(found.groups):
        if member_name(group.members[0]) in names:
            mask |= 1 << number
    return mask


def _together(sets: Sequence[PortSet]) -> PortSet:
    found = PortSet()
    for each in sets:
        found |= each
    return found
