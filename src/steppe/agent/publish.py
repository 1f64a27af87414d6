"""What the agent writes to the API: its underlay on its own Node, and its Problems as Events.

Problems of other nodes' objects are theirs to tell (every agent sees them); they are in this
agent's status all the same. Nothing here may hold up the network: what fails is tried again.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

from steppe.agent.log import line
from steppe.client.client import Client
from steppe.client.errors import ApiError, UnreachableError
from steppe.client.events import EventRecorder, reference
from steppe.client.resources import NODES
from steppe.kube.cause import Problem
from steppe.kube.objects import UNDERLAY_ANNOTATION, underlay_annotation

if TYPE_CHECKING:
    from steppe.agent.daemon import Agent

log = logging.getLogger("steppe.agent")

INTERVAL_SECONDS = 2.0


class Publisher:
    """Keeps what the API holds of this node true, at leisure."""

    def __init__(self, client: Client, agent: "Agent") -> None:
        self._client = client
        self._agent = agent
        self._events = EventRecorder(client, "steppe-agent", agent.compiler.name)
        self._told: frozenset[Problem] = frozenset()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._events.run())
            tasks.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                self._tell_problems()
                await self._publish_underlay()
            except (ApiError, UnreachableError) as error:
                log.warning(line("publish-failed", error=error))

    async def _publish_underlay(self) -> None:
        feed = self._agent.feeds.nodes
        if not feed.trusted or feed.published == feed.underlay:
            return
        text = underlay_annotation(feed.underlay)
        patch = {"metadata": {"annotations": {UNDERLAY_ANNOTATION: text}}}
        await self._client.patch(NODES, self._agent.compiler.name, patch)
        feed.published = feed.underlay
        log.info(line("published", node=self._agent.compiler.name, underlay=text))

    def _tell_problems(self) -> None:
        own = frozenset(
            problem
            for problem in self._agent.problems
            if problem.cause.ref.name == self._agent.compiler.name
        )
        for problem in sorted(own - self._told):
            log.warning(line("problem", cause=problem.cause, message=problem.message))
            about = reference(NODES, problem.cause.ref.name)
            self._events.event(about, "Warning", "NotServed", problem.message)
        self._told = own
