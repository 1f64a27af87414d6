"""Passes changes of the API and of the underlay to the keeper."""

from collections.abc import Callable, Iterable

from steppe.agent.feeds.feeds import Feeds
from steppe.agent.node.keeper import Keeper
from steppe.agent.node.underlay import UnderlayView
from steppe.kube.objects import Underlay
from steppe.state.node import Key


class FeedListener:
    """Is called when the API (feeds.Listener) or the underlay has changed something."""

    def __init__(
        self,
        feeds: Feeds,
        keeper: Keeper,
        underlay: UnderlayView,
        also: Callable[[], None] = lambda: None,
    ) -> None:
        """`also` is called after each change of the API."""
        self._also = also
        self._feeds = feeds
        self._keeper = keeper
        self._underlay = underlay

    def touch(self, keys: Iterable[Key]) -> None:
        """The entries of these keys may have changed: compare and apply them soon."""
        self._keeper.touch(keys)
        self._also()

    async def nodes_listed(self) -> None:
        """After a list of nodes: read the sysctls that it makes desired, and the underlay again."""
        self._underlay.published(self._feeds.nodes.published)
        self.see(self._underlay.value)
        await self.look()
        await self._keeper.read_settings()

    async def look(self) -> None:
        """Read the underlay again."""
        self.see(await self._underlay.look())

    def see(self, underlay: Underlay) -> None:
        """The underlay has changed; changes that the kernel refused are tried again."""
        self._keeper.touch(self._feeds.nodes.see_underlay(underlay))
        self._keeper.touch(tuple(self._keeper.reconciler.failed))
