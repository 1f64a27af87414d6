"""How a lab is doing: its processes, and its nodes and pods as the API shows them."""

from typing import Any

import msgspec

from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.client.errors import ApiError, ConfigError, UnreachableError
from steppe.client.resources import NODES, PODS
from steppe_lab import process
from steppe_lab.record import Options, Record


class ProcessStatus(msgspec.Struct, frozen=True):
    name: str
    pid: int
    alive: bool
    log: str


class NodeStatus(msgspec.Struct, frozen=True):
    name: str
    ready: bool
    addresses: tuple[str, ...]
    pods: int


class Status(msgspec.Struct, frozen=True, tag_field="schema", tag="steppe.lab-status/v1"):
    """What `steppe lab status` prints; `error` says why nodes are missing."""

    options: Options
    kubeconfig: str
    processes: tuple[ProcessStatus, ...]
    nodes: tuple[NodeStatus, ...] = ()
    error: str = ""

    @property
    def well(self) -> bool:
        alive = all(each.alive for each in self.processes)
        ready = sum(each.ready for each in self.nodes) == self.options.nodes
        return alive and ready


async def status(record: Record) -> Status:
    """The lab's processes always; nodes and pods if the API answers."""
    seen = Status(
        record.options,
        record.kubeconfig,
        tuple(
            ProcessStatus(each.name, each.pid, process.is_alive(each), each.log)
            for each in record.processes
        ),
    )
    try:
        async with Client(load_config(record.kubeconfig), user_agent="steppe-lab") as client:
            nodes, _ = await client.list(NODES)
            pods, _ = await client.list(PODS)
    except (ApiError, ConfigError, UnreachableError) as error:
        return msgspec.structs.replace(seen, error=str(error))
    return msgspec.structs.replace(seen, nodes=tuple(_node_status(node, pods) for node in nodes))


def _node_status(node: dict[str, Any], pods: list[dict[str, Any]]) -> NodeStatus:
    name = node["metadata"]["name"]
    facts = node.get("status", {})
    return NodeStatus(
        name,
        any(c["type"] == "Ready" and c["status"] == "True" for c in facts.get("conditions", ())),
        tuple(a["address"] for a in facts.get("addresses", ()) if a["type"] == "InternalIP"),
        sum(pod.get("spec", {}).get("nodeName") == name for pod in pods),
    )
