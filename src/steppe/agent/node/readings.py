"""When the kernel is read as a whole: at the start, once in a while, and after an error.

An agent that starts takes over what an earlier one left: first the tables, then the node itself
and its pods. Nothing is changed before all of that is known; what is missing would be taken away.
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
    """Takes over from an earlier agent; tried again from the beginning if it fails."""

    def __init__(
        self,
        compiler: NodeCompiler,
        keeper: Keeper,
        underlay: UnderlayView,
        remember: Callable[[Collection[Key]], None],
        clean_up: Callable[[], Awaitable[None]],
    ) -> None:
        """`remember` is told what the kernel holds.

        `clean_up` tells of the pods that are attached, and removes those that are half-made.
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
        # What an earlier agent left in the kernel serves until the API has spoken.
        known = node_from_kernel(self._compiler.name, underlay, actual)
        if known is not None:
            self._compiler.set_node(known)
            # What it asks for is wanted, so that `status` does not tell of it as missing.
            await self._keeper.read_settings()
        self._remember(actual.keys())
        await self._clean_up()
        self.done.set()


class FullPasses:
    """Compares everything once in a while, and sooner if the last time failed."""

    def __init__(
        self, keeper: Keeper, look: Callable[[], Awaitable[None]], seconds: float, *, repair: bool
    ) -> None:
        """`look`: see the node's underlay anew. `seconds`: from one pass to the next."""
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
