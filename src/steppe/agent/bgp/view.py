"""What BGP on this node depends on, from the compiler, the feed and the folder of passwords."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from steppe.agent.feeds.bgp import BgpFeed
from steppe.bgp.compile import BgpWorld
from steppe.bgp.text import is_password
from steppe.compile.incremental import NodeCompiler
from steppe.kube.services import Service
from steppe.net.address import IPAddress
from steppe.service.table import Frontend


class BgpView:
    """Reads the world anew at each call.

    `passwords`: a folder with a file for each key of the Secret, as a kubelet mounts it.
    """

    def __init__(
        self,
        compiler: NodeCompiler,
        feed: BgpFeed,
        passwords: Path,
        *,
        mesh: bool,
        trusted: Callable[[], bool],
        leaving: Callable[[], bool],
    ) -> None:
        self._compiler = compiler
        self._feed = feed
        self._folder = passwords
        self._passwords: dict[str, str] = {}
        self._mesh = mesh
        self._trusted = trusted
        self._leaving = leaving

    def passwords(self) -> dict[str, str]:
        """By key, those that can be used; a line end behind one does not belong to it.

        Where the folder cannot be read now, those that it had before.
        """
        try:
            files = sorted(self._folder.iterdir())
        except FileNotFoundError:
            files = []
        except OSError:
            return self._passwords
        self._passwords = {}
        for file in files:
            with contextlib.suppress(OSError, ValueError):
                text = file.read_text().rstrip("\n")
                if is_password(text):
                    self._passwords[file.name] = text
        return self._passwords

    def world(self, passwords: frozenset[str]) -> BgpWorld | None:
        """None while not all of it is known: then BIRD goes on with what it has."""
        compiler, here = self._compiler, self._compiler.here
        if here is None or not self._trusted() or not self._feed.listed:
            return None
        settings = self._feed.settings
        return BgpWorld(
            here=here,
            nodes=(here, *compiler.peers),
            settings=settings,
            routers=tuple(self._feed.routers),
            services=tuple(self._delivered("ClusterIPs" in settings.announce)),
            passwords=passwords,
            mesh=self._mesh,
            leaving=self._leaving(),
        )

    def _delivered(self, clusters: bool) -> Iterator[tuple[Service, frozenset[IPAddress]]]:
        """The Services with addresses to announce, and those that have a backend from here."""
        for service in self._compiler.services:
            outer = (*service.external_ips, *service.load_balancer_ips)
            addresses = (*outer, *(service.cluster_ips if clusters else ()))
            fronts = [Frontend(a, p.protocol, p.port) for a in addresses for p in service.ports]
            if fronts:
                found = self._compiler.served(fronts).items()
                yield service, frozenset(front.address for front, each in found if each.outside)
