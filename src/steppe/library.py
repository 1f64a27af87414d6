"""Steppe as a library: load a cluster once, then ask it.

    from steppe import load

    shop = load("examples/webshop")
    shop.explain("deploy/shop/frontend", "svc/shop/cart").verdict
    shop.ports("shop/frontend", "shop/cart")
    shop.lint()

Results are frozen values. If something cannot be read or an end matches nothing, a SteppeError says
why, in a sentence. docs/guide.md goes through it step by step.
"""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import msgspec

from steppe.ends.end import UnknownEndError
from steppe.explain.explain import Explainer
from steppe.explain.model import Explanation
from steppe.explain.tables import explainer_of
from steppe.judge.judge import End
from steppe.judge.pieces import allowed_of
from steppe.kube.cluster import Cluster
from steppe.lint.finding import Finding
from steppe.lint.lint import lint
from steppe.manifests.cluster import Loaded, loaded_from
from steppe.manifests.documents import Manifest
from steppe.net.packet import Protocol
from steppe.net.ports import EVERYTHING, PortSet
from steppe.reach.difference import Difference
from steppe.reach.ends import Ends
from steppe.reach.groups import Member
from steppe.reach.names import Names, workloads_of
from steppe.reach.reach import Reach, reach_of
from steppe.settings import Settings

__all__ = ["Network", "load", "of_documents"]


class Network:
    """A cluster's network, judged by the cluster's objects.

    `loaded` contains the cluster, the Problems in its objects, what was invented, and the gaps.
    `settings` are those of Steppe's agents. With them, explanations follow Steppe's tables;
    without them, they say what Kubernetes promises on any network.
    """

    def __init__(self, loaded: Loaded, settings: Settings | None = None) -> None:
        self.loaded = loaded
        self.settings = settings
        if settings is not None:
            self.loaded = msgspec.structs.replace(loaded, settings=settings)

    @property
    def cluster(self) -> Cluster:
        """The checked objects, by kind and name."""
        return self.loaded.cluster

    def explain(
        self,
        source: str,
        destination: str,
        port: int | str = "",
        protocol: Protocol | None = None,
    ) -> Explanation:
        """Whether a connection is possible, its paths and causes; if it is not, what would open it.

        Ends are named as on the command line (steppe/ends/parse.py): `shop/web-0`,
        `deploy/shop/web`, `svc/shop/db:5432`, `node/node-a`, an address, a prefix, `internet`.
        """
        flow, notes = self._explainer.flow(source, destination, str(port), protocol)
        return self._explainer.explain(flow, notes=notes)

    def ports(self, source: str, destination: str) -> PortSet:
        """The ports that every one of these senders reaches on every one of these receivers.

        Ends as for `explain`, and also `shop/*` and `namespace/shop`, but no Services: the ports
        are those of pods.
        """
        found = EVERYTHING
        for sender in self._members(source):
            for receiver in self._members(destination):
                found &= self._between(sender, receiver)
        return found

    @cached_property
    def reach(self) -> Reach:
        """All pairs, by groups of ends that no policy distinguishes."""
        return reach_of(self.cluster, settings=self.loaded.settings)

    def lint(self) -> tuple[Finding, ...]:
        """Findings: what has no effect, or probably not the intended one."""
        return lint(self.loaded)

    def diff(self, after: "Network") -> Difference:
        """Which flows open and which close from this network to another state of it."""
        return Difference(self.cluster, after.cluster, settings=self.loaded.settings)

    @cached_property
    def _explainer(self) -> Explainer:
        if self.settings is None:
            return Explainer(self.cluster, settings=self.loaded.settings)
        return explainer_of(self.cluster, self.settings)

    @cached_property
    def _ends(self) -> Ends:
        return Ends(self.reach, Names(self.reach.groups, workloads_of(self.loaded.objects)))

    def _members(self, text: str) -> Iterable[Member]:
        chosen = self._ends.chosen(text)
        if chosen.is_service:
            raise UnknownEndError(
                f"{text} is a Service, which has no ports of its own: name its pods"
            )
        return chosen.members

    def _between(self, sender: Member, receiver: Member) -> PortSet:
        """The ports that work in every address family that both have.

        None if they share no family.
        """
        pieces = (self.reach.between(_end(sender), _end(receiver), version) for version in (4, 6))
        shared = [allowed_of(found) for found in pieces if found]
        return shared[0] & shared[-1] if shared else PortSet()


def load(*paths: str | Path, kubeconfig: str = "", context: str = "") -> Network:
    """The cluster that files and folders of manifests describe, or the one that a kubeconfig names.

    With neither, the cluster of the kubeconfig that kubectl would use. Reads only.
    """
    if paths:
        from steppe.client.files import manifests_in

        return Network(loaded_from(manifests_in(map(str, paths))))
    from steppe.client.config import load_config
    from steppe.client.snapshot import snapshot

    # In a thread of its own: in a notebook the current thread runs an event loop already.
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(asyncio.run, snapshot(load_config(kubeconfig, context))).result()
    return Network(loaded_from(found.manifests, found.gaps))


def of_documents(documents: Iterable[object]) -> Network:
    """The cluster that decoded documents describe, such as `yaml.safe_load_all` gives."""
    return Network(loaded_from(Manifest(document) for document in documents))


def _end(member: Member) -> End:
    """A member as an end.

    A prefix by its first address, since all its addresses are treated alike.
    """
    return member.network_address if isinstance(member, IPv4Network | IPv6Network) else member
