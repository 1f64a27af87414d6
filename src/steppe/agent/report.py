"""Reports the agent's status to the API, where `steppe status --kubeconfig` reads it.

A report is written once a minute, and sooner after a change of what is wrong. Its numbers (nodes,
pods, entries) are as old as the report.
"""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Any

from steppe.agent.outage import Outage
from steppe.client.client import Client
from steppe.client.errors import ApiError
from steppe.client.reports import NAMESPACE, RENEW_SECONDS, lease_name, report
from steppe.client.resources import LEASES, NODES
from steppe.errors import SteppeError

LOOK_SECONDS = 5.0
"""Seconds between two looks at what is wrong; the shortest time between two reports."""


class NoNamespaceError(SteppeError):
    """The namespace for reports is missing."""


class Reporter:
    """Keeps one node's report fresh.

    Invariant: nothing is written for a Node that the API server does not have.
    """

    def __init__(
        self,
        client: Client,
        node: str,
        status: Callable[[], dict[str, Any]],
        signs: Callable[[], Hashable],
    ) -> None:
        """`status`: the agent's, without entries on their way. `signs`: what is wrong; a report
        follows its changes.
        """
        self._client = client
        self._node = node
        self._status = status
        self._signs = signs
        self._told: Hashable = None
        self._due = 0.0
        self._outage = Outage("report-failed")

    async def run(self, turned: Callable[[], None] = lambda: None) -> None:
        """Report until cancelled; ApiError if the API server refuses it.

        `turned` is called after each look that went well.
        """
        while True:
            await self.look()
            turned()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Report if that is due; ApiError if the API server refuses it."""
        signs = self._signs()
        if signs == self._told and time.monotonic() < self._due:
            return
        with self._outage:
            await self._write()
            self._told = signs
            self._due = time.monotonic() + RENEW_SECONDS

    async def _write(self) -> None:
        try:
            node = await self._client.get(NODES, self._node)
        except ApiError as error:
            if error.not_found:
                return
            raise
        lease = report(self._status(), node["metadata"]["uid"])
        name = lease_name(self._node)
        try:
            await self._client.patch(LEASES, name, lease, NAMESPACE, kind="apply")
        except ApiError as error:
            if error.not_found:
                raise NoNamespaceError(f"{error}; kubectl create namespace {NAMESPACE}") from error
            raise
