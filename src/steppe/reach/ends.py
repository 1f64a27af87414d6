"""Who is meant by what people write for --from, --to and in files of expectations.

    shop/web-1  shop/web  shop/web-*  shop/*    pods, by their own name or their workload's
    deploy/shop/web                             the same, by the workload alone
    *                                           all pods
    node/node-a  node/*
    svc/shop/db  svc/shop/db:5432  svc/shop/*   Services, only to be reached
    10.244.1.5  fd00::5  10.96.0.10             whoever has the address
    192.0.2.0/24  internet                      everybody there who is not of the cluster

A port may follow pods, nodes and Services: `shop/db:5432`, `shop/dns:53/udp`.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cached_property

import msgspec

from steppe.errors import SteppeError
from steppe.net.address import IPAddress, parse_address, parse_prefix
from steppe.reach.groups import INTERNET, Member
from steppe.reach.names import Names, member_name
from steppe.reach.ports import PortSet, parse_ports
from steppe.reach.reach import Reach
from steppe.reach.services import Offer, Offers

_NEAR = 3
_WORKLOADS = frozenset(("deploy", "deployment", "sts", "statefulset", "ds", "daemonset", "job"))


class UnknownEndError(SteppeError):
    """What was written means nobody."""


class Chosen(msgspec.Struct, frozen=True):
    """The members or Services that were meant, and the ports written behind them."""

    members: tuple[Member, ...] = ()
    offers: tuple[Offer, ...] = ()
    ports: PortSet | None = None


class Ends:
    """Looks ends up in one cluster."""

    def __init__(self, reach: Reach, names: Names) -> None:
        self._reach = reach
        self._names = names

    def chosen(self, text: str) -> Chosen:
        """Who is meant; UnknownEndError says why nobody is."""
        address = _address(text)
        if address is not None:
            return self._at(text, address)
        name, port = _split_port(text)
        if name.startswith("svc/"):
            return self._services(text, name.removeprefix("svc/"), port)
        ports = None
        if port:
            try:
                ports = parse_ports(port)
            except ValueError as error:
                raise UnknownEndError(f"{text!r}: {error}") from error
        members = tuple(self._named(name))
        if not members:
            raise _unknown(text, name, self._known)
        return Chosen(members, ports=ports)

    def _named(self, text: str) -> Iterator[Member]:
        if text == "internet":
            yield from (m for m in self._members if m == INTERNET)
            return
        for pod in (pod for party in self._reach.parties for pod in party.pods):
            workload = self._names.workload(pod)
            match text.split("/"):
                case [kind, namespace, name] if kind in _WORKLOADS:
                    wanted = fnmatchcase(f"{pod.namespace}/{workload}", f"{namespace}/{name}")
                case ["pod" | "po", namespace, name]:
                    wanted = fnmatchcase(f"{pod.namespace}/{pod.name}", f"{namespace}/{name}")
                case [namespace, name]:
                    wanted = fnmatchcase(pod.namespace, namespace) and (
                        fnmatchcase(pod.name, name) or fnmatchcase(workload, name)
                    )
                case [name]:
                    wanted = fnmatchcase(pod.name, name) or fnmatchcase(workload, name)
                case _:
                    wanted = False
            if wanted:
                yield pod
        if text.startswith("node/"):
            for party in self._reach.parties:
                yield from (n for n in party.nodes if fnmatchcase(f"node/{n.name}", text))

    def _services(self, text: str, pattern: str, port: str) -> Chosen:
        offers = tuple(
            offer
            for offer in self._offers.all
            if fnmatchcase(f"{offer.service.namespace}/{offer.service.name}", pattern)
            and port in ("", offer.port.name, str(offer.port.port))
        )
        if not offers:
            known = {str(offer) for offer in self._offers.all}
            raise _unknown(text, text, known | {name.rpartition(":")[0] for name in known})
        return Chosen(offers=offers)

    def _at(self, text: str, address: IPAddress) -> Chosen:
        """Whoever has the address, or the addresses of the prefix that begins with it."""
        offers = tuple(offer for offer in self._offers.all if offer.address == address)
        if offers:
            return Chosen(offers=offers)
        number = self._reach.party_at(address)
        if number is None:
            raise UnknownEndError(f"{text} is of the cluster's own pod addresses, but no pod's")
        end = self._reach.end_at(address)
        if not isinstance(end, IPAddress):
            return Chosen((end,))
        holding = [p for p in self._reach.parties[number].prefixes if address in p]
        return Chosen((max(holding, key=lambda prefix: prefix.prefixlen, default=INTERNET),))

    @cached_property
    def _offers(self) -> Offers:
        return Offers(self._reach)

    @cached_property
    def _members(self) -> tuple[Member, ...]:
        return tuple(member for party in self._reach.parties for member in party.members)

    @cached_property
    def _known(self) -> frozenset[str]:
        pods = (pod for party in self._reach.parties for pod in party.pods)
        workloads = {f"{pod.namespace}/{self._names.workload(pod)}" for pod in pods}
        return frozenset(workloads.union(map(member_name, self._members)))


def _address(text: str) -> IPAddress | None:
    """An address, or the first one of a prefix; None for any other text."""
    try:
        return parse_prefix(text).network_address if "/" in text else parse_address(text)
    except ValueError:
        return None


def _split_port(text: str) -> tuple[str, str]:
    """`shop/dns:53/udp` as its name and its port."""
    name, colon, port = text.partition(":")
    return (name, port) if colon else (text, "")


def _unknown(text: str, wanted: str, known: frozenset[str] | set[str]) -> UnknownEndError:
    near = get_close_matches(wanted, sorted(known), _NEAR)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return UnknownEndError(f"{text!r} means nobody in this cluster{hint}")
