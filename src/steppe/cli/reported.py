"""Reads what the agents of a cluster report of their nodes (client/reports.py)."""

from typing import Any

import msgspec

from steppe.client.client import Client
from steppe.client.reports import LABEL, LABELLED, NAMESPACE, Lease, answer, lease_name
from steppe.client.resources import LEASES, NODES


async def read_reports(client: Client) -> list[dict[str, Any]]:
    """What is known of every Node, sorted by name; an `error` where no fresh report is there.

    ApiError if the API server does not let us list Nodes or Leases.
    """
    nodes, _ = await client.list(NODES)
    leases, _ = await client.list(LEASES, NAMESPACE, label_selector=f"{LABEL}={LABELLED}")
    now = await client.server_time()
    held = {lease.metadata.name: lease for lease in (msgspec.convert(x, Lease) for x in leases)}
    names = sorted(node["metadata"]["name"] for node in nodes)
    return [answer(name, held.get(lease_name(name)), now) for name in names]
