"""The tables as they are in kernels, read through nodes' agents."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from steppe.agent.ask import AskError
from steppe.cli.agents import Agent
from steppe.cli.audit_text import entry_name, said_of
from steppe.errors import SteppeError
from steppe.explain.doubts import doubted
from steppe.explain.explain import Walk
from steppe.explain.model import Difference, Explanation
from steppe.explain.tables import walk_of, without_number
from steppe.findings.finding import OWN_TABLE, Affected, Finding, finding_from
from steppe.findings.own_table import GONE, TABLE
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node
from steppe.net.address import IPAddress
from steppe.state.claim import Entry
from steppe.state.document import KeyState, key_state_from, surroundings_from
from steppe.state.nft import ElementKey
from steppe.state.node import NodeState
from steppe.state.surroundings import Surroundings


class Kernels:
    """Reads the kernels of a part's nodes, and collects differences from the desired tables."""

    def __init__(
        self,
        agents: Iterable[Agent],
        nodes: Mapping[str, Node],
        desired: Callable[[Cluster], dict[str, NodeState]],
    ) -> None:
        self._agents = {each.node or _own_name(each): each for each in agents}
        self._within_reach = {name: nodes[name] for name in self._agents if name in nodes}
        self._desired = desired
        self._differences: list[Difference] = []
        self._notes: list[str] = []
        self._around: dict[str, Surroundings] = {}
        self._found: dict[str, tuple[Finding, ...]] = {}

    def in_tables(self, part: Cluster) -> Walk:
        """A Walk through the kernels' tables.

        If an agent does not answer, its desired tables are used.
        """
        own, addresses = self._desired(part), _addresses(part)
        # A kernel with wrong tables may send packets to any node.
        part = msgspec.structs.replace(part, nodes={**self._within_reach, **part.nodes})
        states = self._desired(part)
        for node in states:
            try:
                held = self._held(node, addresses)
            except (SteppeError, ValueError, KeyError, TypeError) as error:
                note = f"{node} is taken to be as it shall be, for its kernel was not read: {error}"
                self._notes.append(note)
                self._found[node] = (_unread(str(error)),)
                continue
            self._differences += _differences(node, held, own.get(node, {}), self._found[node])
            states[node] = {
                each.key: Entry(each.actual, each.because)
                for each in held
                if each.actual is not None
            }
        return walk_of(part, states, self._around)

    def _held(self, node: str, addresses: list[str]) -> list[KeyState]:
        if node not in self._agents:
            raise AskError("its agent is not in reach")
        asked = self._agents[node]
        answer = _checked(asked.ask("tables", method="POST", body={"addresses": addresses}), asked)
        held = [key_state_from(each) for each in answer["entries"]]
        self._around[node] = surroundings_from(answer["surroundings"])
        self._found[node] = tuple(map(finding_from, answer["findings"]))
        return held

    def marked(self, said: Explanation) -> Explanation:
        """The explanation with the differences that were found, and with what is not Steppe's."""
        said = doubted(said, self._found)
        notes = (*said.notes, *dict.fromkeys(self._notes))
        return msgspec.structs.replace(
            said,
            basis="kernels",
            differences=tuple(dict.fromkeys(self._differences)),
            notes=notes,
        )


def _unread(why: str) -> Finding:
    """That a kernel was not read: it is no yes where nobody has looked."""
    effect = f"was not read, and may hold something else than its tables shall: {why}"
    cure = "ask through the cluster's API (--kubeconfig) or on the node, or start its agent"
    return Finding("unread", "its kernel", effect, cure, affects=(Affected(),))


def _own_name(agent: Agent) -> str:
    return str(_checked(agent.ask("status"), agent).get("node"))


def _checked(answer: dict[str, Any], agent: Agent) -> dict[str, Any]:
    if "error" in answer:
        raise AskError(f"{agent}: {answer['error']}")
    return answer


def _addresses(part: Cluster) -> list[str]:
    """All addresses that packets of this part may have."""
    found: set[IPAddress] = set()
    for pod in part.pods.values():
        found.update(pod.addresses)
    for node in part.nodes.values():
        found.update(node.addresses)
    for service in part.services.values():
        found.update(service.addresses)
    for slice_ in part.slices.values():
        found.update(endpoint.address for endpoint in slice_.endpoints)
    return sorted(map(str, found))


def _differences(
    node: str, held: list[KeyState], desired: NodeState, found: Iterable[Finding]
) -> Iterator[Difference]:
    """The differences of entries that this flow uses, and of entries without a cause.

    Of a table that is gone with all its elements, the table alone.
    """
    met = {without_number(key) for key in desired}
    gone = any((each.kind, each.entry) == (OWN_TABLE, GONE) for each in found)
    if gone:
        yield Difference(node, TABLE, "", "there", ())
    for each in held:
        if gone and each.key.table == ElementKey.table:
            continue
        is_met = each.desired is None or without_number(each.key) in met
        if each.actual != each.desired and is_met:
            yield Difference(
                node,
                entry_name(each.key.table, str(each.key)),
                said_of(each.actual),
                said_of(each.desired),
                each.because,
            )
