"""BGP as the rest of the agent sees it: nothing at all, where the fabric has no sessions."""

from collections.abc import Iterator

from steppe.agent.bgp.answer import Json, bgp_document, causes_of_routes, missing_rows
from steppe.agent.bgp.speaker import Speaker
from steppe.agent.bgp.view import BgpView
from steppe.agent.feeds.feeds import Feeds
from steppe.agent.options import Options
from steppe.agent.supervisor import Job
from steppe.bgp.render import render
from steppe.bgp.tables import BgpTables
from steppe.compile.incremental import NodeCompiler
from steppe.drivers.bird.daemon import Bird
from steppe.fabric.registry import speaks_bgp
from steppe.kube.cause import Cause, Problem
from steppe.net.address import IPNetwork


class Bgp:
    """One node's speaker, or none; every method has an answer in both cases."""

    def __init__(self, options: Options, compiler: NodeCompiler, feeds: Feeds) -> None:
        self._node = options.node
        self._bird = Bird(options.state_dir / "bird")
        """Left by an agent with the fabric bgp, it is ended where the fabric is another now."""
        self._speaker: Speaker | None = None
        if speaks_bgp(options.settings):
            view = BgpView(
                compiler,
                feeds.bgp,
                options.bgp_passwords,
                mesh=True,
                trusted=lambda: feeds.trusted,
                leaving=lambda: feeds.nodes.leaving,
            )
            self._speaker = Speaker(options.node, view, self._bird)
        feeds.bgp.changed = self.wake

    def wake(self) -> None:
        """Something that BGP depends on may have changed."""
        if self._speaker is not None:
            self._speaker.wake()

    def jobs(self) -> Iterator[Job]:
        if self._speaker is not None:
            yield Job("bgp", self._speaker.run)
        elif self._bird.was_here:
            yield Job("bgp-end", lambda: self._bird.retire(render(BgpTables(), {})), lasts=False)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self._speaker.problems if self._speaker is not None else ()

    def missing(self) -> list[Json]:
        """A row for each session that is missing for a while."""
        return missing_rows(self._speaker)

    async def learned(self) -> dict[IPNetwork, tuple[Cause, ...]]:
        """Of each prefix that BIRD has learned, the objects that asked for the sessions."""
        return await causes_of_routes(self._speaker)

    async def document(self) -> Json:
        """The answer to `steppe bgp`."""
        return await bgp_document(self._node, self._speaker)
