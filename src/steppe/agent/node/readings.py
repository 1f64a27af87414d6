"""When the whole kernel is read: at the start, periodically, and after an error.

An agent that starts takes over the entries of an earlier one: first the tables, then the node and
its pods. Nothing is changed before all of them are known, since missing objects look like
deletions.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection

from steppe.agent.node.bootstrap import node_from_kernel
from steppe.agent.node.keeper import Keeper
from steppe.agent.node.underlay import UnderlayView
from steppe.compile.incremental import NodeCompiler
from steppe.state.node import Key


class Start:
    """Takes over from an earlier agent; if it fails, it is run again from the beginning."""

    def __init__(
        self,
        compiler: NodeCompiler,
        keeper: Keeper,
        underlay: UnderlayView,
        remember: Callable[[Collection[Key]], None],
        clean_up: Callable[[], Awaitable[None]],
    ) -> None:
        """`remember` is called with the kernel's entries.

        `clean_up` reports the attached pods, and removes incomplete attachments.
        """
        self._remember = remember
        self._compiler = compiler
        self._keeper = keeper
        self._underlay = underlay
        self._clean_up = clean_up
        self.done = asyncio.Event()

    async def run(self) -> None:
        underlay = await self._underlay.look()
        await self._keeper.read()
        actual = self._keeper.reconciler.actual
        # The entries of an earlier agent stay in use until the API's lists are complete.
        known = node_from_kernel(self._compiler.name, underlay, actual)
        if known is not None:
            self._compiler.set_node(known)
            # What it asks for is wanted, so that `status` does not tell of it as missing.
            await self._keeper.read_settings()
        self._remember(actual.keys())
        await self._clean_up()
        self.done.set()


class FullPasses:
    """Reads and compares everything periodically, and sooner after a failure (resync)."""

    def __init__(
        self, keeper: Keeper, look: Callable[[], Awaitable[None]], seconds: float, *, repair: bool
    ) -> None:
        """`look`: read the node's underlay again. `seconds`: between two full passes."""
        self._keeper = keeper
        self._look = look
        self._seconds = seconds
        self._repair = repair
        self._due = time.monotonic() + seconds

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._due - time.monotonic())
            await self._look()
            if self._repair:
                await self._keeper.read()
                self._keeper.touch(())
            self._due = time.monotonic() + self._seconds
