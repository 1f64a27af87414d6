"""Keeps BGPPeers and BGPSettings as the API has them, for agent/bgp.

No table of the compiler depends on them, so nothing in the kernel waits for these lists. A cluster
without the kinds has none of either: sessions between nodes alone, with the defaults.
"""

from collections.abc import Callable, Iterable

from steppe.agent.feeds.feed import NONE, Follow
from steppe.bgp import wire
from steppe.bgp.objects import SETTINGS_NAME, BgpSettings, Peer, peer_from, settings_from
from steppe.client.informer import WatchEvent
from steppe.client.mirror import Kind, Mirror
from steppe.client.resources import BGPPEERS, BGPSETTINGS
from steppe.kube.cause import Problem
from steppe.state.node import Key

_UNTIL = "until then BIRD goes on with what it has"
PEER = Kind(
    resource=BGPPEERS, wire=wire.BGPPeer, parse=peer_from, may_be_absent=True, until_listed=_UNTIL
)
SETTINGS = Kind(
    resource=BGPSETTINGS,
    wire=wire.BGPSettings,
    parse=settings_from,
    may_be_absent=True,
    until_listed=_UNTIL,
)


class BgpFeed:
    """The peers and the settings. `changed` is called after each event."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.changed = changed
        self._peers = Mirror(PEER)
        self._settings = Mirror(SETTINGS)

    @property
    def complete(self) -> bool:
        """Always: the kernel's tables do not depend on these kinds."""
        return True

    @property
    def listed(self) -> bool:
        """Whether both lists have arrived, so that what is not in them is not there."""
        return self._peers.listed and self._settings.listed

    @property
    def routers(self) -> Iterable[Peer]:
        return self._peers.known.values()

    @property
    def settings(self) -> BgpSettings:
        return self._settings.known.get(("", SETTINGS_NAME), BgpSettings())

    @property
    def problems(self) -> tuple[Problem, ...]:
        return (*self._peers.problems, *self._settings.problems)

    @property
    def follows(self) -> tuple[Follow, ...]:
        return (Follow(PEER, self.take_peer), Follow(SETTINGS, self.take_settings))

    def take_peer(self, event: WatchEvent[wire.BGPPeer]) -> frozenset[Key]:
        """No keys: none of the compiler's tables has changed."""
        self._peers.take(event)
        self.changed()
        return NONE

    def take_settings(self, event: WatchEvent[wire.BGPSettings]) -> frozenset[Key]:
        """As `take_peer`."""
        self._settings.take(event)
        self.changed()
        return NONE
