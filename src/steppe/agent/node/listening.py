"""What the API has changed, for the keeper; and what of the kernel it has made worth knowing."""

from collections.abc import Iterable

from steppe.agent.feeds.feeds import Feeds
from steppe.agent.node.keeper import Keeper
from steppe.agent.node.underlay import UnderlayView
from steppe.kube.objects import Underlay
from steppe.state.node import Key


class FeedListener:
    """Who is told of what the API has changed (feeds.Listener), and of the underlay."""

    def __init__(self, feeds: Feeds, keeper: Keeper, underlay: UnderlayView) -> None:
        self._feeds = feeds
        self._keeper = keeper
        self._underlay = underlay

    def touch(self, keys: Iterable[Key]) -> None:
        """Entries may have changed: compare and apply them soon."""
        self._keeper.touch(keys)

    async def nodes_listed(self) -> None:
        """The list says which settings matter, and by which addresses this node is known."""
        self._underlay.published(self._feeds.nodes.published)
        self.see(self._underlay.value)
        await self.look()
        await self._keeper.read_settings()

    async def look(self) -> None:
        """See the underlay anew."""
        self.see(await self._underlay.look())

    def see(self, underlay: Underlay) -> None:
        """The underlay is this now; what the kernel refused may be possible by now."""
        self._keeper.touch(self._feeds.nodes.see_underlay(underlay))
        self._keeper.touch(tuple(self._keeper.reconciler.failed))
