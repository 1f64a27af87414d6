"""Attaches pods to the node and detaches them; the only record of an attachment is in the kernel.

An attachment is complete when its link has its alias, which is set last and in one step:

    checked ─▶ reserved ─▶ link made ─▶ pod side ─▶ host side ─▶ alias set: complete

After a crash before the last step, the link has no alias. It is removed when the agent starts, or
by the next request for the same pod. The kernel removes addresses, routes and neighbour entries
with their link. Calls block and run on a thread; the caller allows only one at a time for each
link.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from errno import EEXIST
from typing import Protocol, TypeVar

import msgspec

from steppe.agent.cni.addresses import Addresses
from steppe.agent.cni.request import Request
from steppe.agent.cni.result import expected_link, faults_of_previous
from steppe.agent.cni.sandboxes import Sandboxes
from steppe.compile.pod import pod_claims, workload_claims
from steppe.drivers.driver import Driver
from steppe.drivers.errors import KernelError
from steppe.drivers.namespaces import Host, Namespaces, Netns
from steppe.drivers.scope import pod
from steppe.errors import SteppeError
from steppe.kube.objects import Workload
from steppe.net.address import IPAddress, IPNetwork
from steppe.plan.diff import Change, diff
from steppe.plan.order import ordered
from steppe.state.device import Veth
from steppe.state.link import Link, LinkKey
from steppe.state.node import Key, NodeClaim, Value, settle
from steppe.state.workload import (
    POD_GROUP,
    host_mac,
    interface,
    is_pod_link,
    parse_alias,
    pod_mac,
)

T = TypeVar("T")
Steps = Generator[str, None, Workload]
"""The names of the steps of an ADD; each is yielded when it is done."""


class NodeView(Protocol):
    """What attaching needs to know about the node; read again for each request."""

    @property
    def name(self) -> str: ...
    @property
    def prefixes(self) -> tuple[IPNetwork, ...]: ...
    @property
    def refused(self) -> str: ...
    @property
    def mtu(self) -> int: ...


class TakenError(SteppeError):
    """The container has this attachment already."""


class SameNamespaceError(SteppeError):
    """The namespace to attach is the node's own."""


class Found(msgspec.Struct, frozen=True):
    """A pod link in the kernel; without a workload it is incomplete, or not ours."""

    link: str
    workload: Workload | None
    half_made: bool = False

    def is_of(self, request: Request) -> bool:
        """Whether it is the attachment of this container and this interface."""
        return self.workload is not None and self.workload.container == request.owner


class Attachments:
    """The attachments of one node, in its kernel.

    Invariant: a link with an alias of ours has had all steps of its attachment; if a step of an ADD
    fails, what the earlier steps have made is removed. `close` also closes the host's driver.
    """

    def __init__(self, view: NodeView, host: Host, namespaces: Namespaces) -> None:
        self._view = view
        self._host = host
        self._namespaces = namespaces
        self._sandboxes = Sandboxes(host, namespaces)
        self._complete: dict[str, Workload] = {}
        self._addresses = Addresses(view.name, lambda: view.prefixes, lambda: view.refused)

    def close(self) -> None:
        self._host.close()

    def found(self) -> tuple[Found, ...]:
        """Every pod link in the kernel."""
        links = self._host.aliases()
        return tuple(self._seen(name, links[name]) for name in links if is_pod_link(name))

    def _seen(self, link: str, alias: str) -> Found:
        workload = parse_alias(alias, link, self._view.name)
        return Found(link, workload, half_made=not alias)

    def clean_up(self) -> tuple[Workload, ...]:
        """At the agent's start: remove incomplete attachments; returns the complete ones."""
        found = self.found()
        for one in found:
            if one.half_made:
                self.remove(one.link)
        complete = tuple(one.workload for one in found if one.workload is not None)
        self._complete.update((workload.link, workload) for workload in complete)
        self._sandboxes.learn(workload.link for workload in complete)
        return complete

    def find(self, request: Request) -> Found | None:
        """The link that a request is about, of any sandbox of its pod."""
        alias = self._host.alias(request.link)
        if alias is not None:
            return self._seen(request.link, alias)
        if request.uid:
            return None
        # A runtime that does not send the pod's UID still sends the container ID.
        return next((one for one in self.found() if one.is_of(request)), None)

    def add(self, request: Request, replacing: Callable[[str], None] = lambda _: None) -> Steps:
        """Attach a pod, step by step; if a step fails, the earlier ones are undone.

        `replacing` is called with the link of the pod's earlier sandbox before that link is
        removed.
        """
        with self._namespaces.opened(request.netns) as netns:
            if not request.host_allowed and self._namespaces.is_own(netns):
                raise SameNamespaceError(f"{request.netns} is the node's own network namespace")
            self._make_room(request, replacing)
            yield "checked"
            addresses = self._addresses.reserve(request.link, self._in_use)
            try:
                yield "reserved"
                workload = request.workload(self._view.name, addresses)
                yield from self._attach(workload, netns, request.interface, self._view.mtu)
                self._complete[workload.link] = workload
            finally:
                self._addresses.release(request.link)
            self._sandboxes.remember(workload.link, request.netns, netns)
            return workload

    def remove(self, link: str) -> None:
        """Delete a link, and all entries on it; no error if it does not exist."""
        self._delete(link)
        self._complete.pop(link, None)
        self._sandboxes.forget(link)

    def faults(self, request: Request) -> tuple[str, ...]:
        """How the attachment differs from what its ADD made, in sentences; () if it does not."""
        one = self.find(request)
        if one is None or one.workload is None:
            return (f"the link {request.link} is gone",)
        if not one.is_of(request):
            return (f"the link {one.link} is now another sandbox's ({one.workload.container})",)
        workload, mtu = one.workload, self._view.mtu
        with self._namespaces.opened(request.netns) as netns:
            inside = self._inside(netns, request.interface)
        mac, size = expected_link(request, workload, mtu)
        wanted = _table(pod_claims(workload, mtu, request.interface))
        wanted[LinkKey(request.interface)] = Link(Veth(), size, mac)
        return (
            *faults_of_previous(request, workload),
            *_missing("pod", wanted, inside),
            *self._host_faults(workload, mtu),
        )

    def inner_faults(self, workload: Workload) -> tuple[Change, ...]:
        """The changes that restore the inside of a pod; () if its namespace is not found."""
        named = interface(workload)
        with self._sandboxes.opened(workload.link) as netns:
            if netns is None:
                return ()
            actual = self._inside(netns, named)
        wanted = settle(pod_claims(workload, self._view.mtu, named))[0]
        # Compare only what we made: other programs may have added entries.
        return ordered(diff(wanted, actual, wanted))

    def in_pod(self, workload: Workload, look: Callable[[int], T]) -> T | None:
        """What `look` answers of the pod's namespace; None if that is not found."""
        with self._sandboxes.opened(workload.link) as netns:
            return look(netns.fd) if netns is not None else None

    def knows(self, workload: Workload) -> bool:
        """Whether this attachment is complete in the kernel, and was not removed or replaced."""
        return self._complete.get(workload.link) == workload

    def repair(self, workload: Workload) -> bool:
        """Make a pod's link again if it is missing; False if the pod's namespace is gone."""
        if any(one.link == workload.link and not one.half_made for one in self.found()):
            return True
        self._delete(workload.link)
        named = interface(workload)
        with self._sandboxes.opened(workload.link) as netns:
            if netns is None:
                return False
            for _ in self._attach(workload, netns, named, self._view.mtu):
                pass
        return True

    def shortage(self) -> str:
        """Why no pod can get an address now; "" if one can."""
        return self._addresses.shortage(self._in_use())

    def _attach(self, workload: Workload, netns: Netns, interface: str, mtu: int) -> Iterator[str]:
        link = workload.link
        bare = Link(Veth(), mtu, host_mac(link), group=POD_GROUP)
        try:
            self._host.create_veth(link, bare, interface, pod_mac(link), netns.fd)
        except KernelError as error:
            # The host side's name is free (`_make_room`), so the name inside the pod is taken.
            if error.errno == EEXIST:
                raise TakenError(
                    f"interface {interface} exists already in the container"
                ) from error
            raise
        try:
            yield "link made"
            with self._namespaces.driver(netns, pod(interface)) as driver:
                self._apply(driver, _additions(pod_claims(workload, mtu, interface)))
            yield "pod side"
            claims = tuple(workload_claims(workload, mtu))
            self._apply(self._host, _additions(c for c in claims if not _is_link(c.key)))
            yield "host side"
            alias = _additions(c for c in claims if _is_link(c.key))
            self._apply(self._host, alias)
            yield "alias set"
        except SteppeError:
            self._delete(link)
            raise

    def _delete(self, link: str) -> None:
        self._apply(self._host, (Change(LinkKey(link), Link(Veth(), 0, ""), None),))

    def _make_room(self, request: Request, replacing: Callable[[str], None]) -> None:
        """Remove a link with the new name; TakenError if it is this attachment's or not ours."""
        one = self.find(request)
        if one is None:
            return
        if one.is_of(request):
            raise TakenError(f"interface {request.interface} exists already in this container")
        if one.workload is None and not one.half_made:
            raise TakenError(f"the node has a link {one.link} that is not Steppe's; rename it")
        # Incomplete, or of the pod's earlier sandbox: a pod has only one.
        replacing(one.link)
        self.remove(one.link)

    def _in_use(self) -> Iterator[IPAddress]:
        for one in self.found():
            yield from one.workload.addresses if one.workload is not None else ()
        # A link that was removed by hand will be made again with its addresses.
        for workload in tuple(self._complete.values()):
            yield from workload.addresses
        # Such as a bridge with the first address that another network plugin has left.
        yield from self._host.addresses()

    def _host_faults(self, workload: Workload, mtu: int) -> Iterator[str]:
        wanted = _table(workload_claims(workload, mtu))
        yield from _missing("node", wanted, self._host.read(tuple(wanted)))

    def _inside(self, netns: Netns, interface: str) -> dict[Key, Value]:
        """The tables inside a pod's namespace."""
        with self._namespaces.driver(netns, pod(interface)) as driver:
            return driver.read()

    @staticmethod
    def _apply(driver: Driver, changes: tuple[Change, ...]) -> None:
        for failure in driver.apply(changes):
            raise failure.error


def run(steps: Steps, done: Callable[[str], None] = lambda _: None) -> Workload:
    """Run all steps; `done` is called with the name of each. Returns the workload."""
    while True:
        try:
            done(next(steps))
        except StopIteration as end:
            workload: Workload = end.value
            return workload


def _is_link(key: Key) -> bool:
    return isinstance(key, LinkKey)


def _table(claims: Iterable[NodeClaim]) -> dict[Key, Value]:
    return {key: entry.value for key, entry in settle(claims)[0].items()}


def _additions(claims: Iterable[NodeClaim]) -> tuple[Change, ...]:
    return ordered(diff(settle(claims)[0], {}))


def _missing(where: str, wanted: dict[Key, Value], actual: dict[Key, Value]) -> Iterator[str]:
    """Differences in what we made; later plugins of the chain may have added entries."""
    for key, value in wanted.items():
        seen = actual.get(key)
        if seen != value:
            is_now = f"is {seen}" if seen is not None else "is missing"
            yield f"{where}: {key.table} {key} {is_now}, must be {value}"
