"""What the kernel refuses is tried again at a steady pace, however much happens meanwhile."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from steppe.agent.daemon import Agent
from steppe.agent.node import keeper
from steppe.agent.node.flows import FlowEnder
from steppe.agent.node.policy_flows import PolicyFlowEnder
from steppe.agent.options import Options, parse
from steppe.drivers.errors import Failure, KernelError
from steppe.kube.objects import Node, Underlay
from steppe.kube.prefixes import pod_cidrs
from steppe.net.address import parse_address, parse_interface, parse_prefix
from steppe.plan.diff import Change

NODE = Node(
    "node-a",
    "",
    pod_cidrs("node-a", [parse_prefix("10.244.1.0/24")]),
    (parse_address("192.0.2.11"),),
)


class Stubborn:
    """A kernel that refuses everything, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def underlay(self, _: object) -> Underlay:
        return Underlay("eth0", 1500, (parse_interface("192.0.2.11/24"),))

    def apply(self, changes: tuple[Change, ...]) -> tuple[Failure, ...]:
        self.asked += 1
        return tuple(Failure(change, KernelError("change", 1)) for change in changes)


def options(state_dir: Path) -> Options:
    off = ("--services", "off", "--policies", "off")
    return parse(["--node", "node-a", "--state-dir", str(state_dir), *off])


async def test_events_while_the_kernel_refuses_do_not_multiply_the_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "RETRY_SECONDS", 0.2)
    kernel: Any = Stubborn()
    unused: Any = None
    agent = Agent(options(tmp_path), unused, kernel, unused)
    agent._flows = FlowEnder(agent.compiler, unused)
    agent._policy_flows = PolicyFlowEnder(agent.compiler, unused)
    agent.feeds.nodes.trusted = True
    agent._cni._attachments.close()  # opened with the agent, and of no use here
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(agent.keeper.run())
        agent.touch(agent.compiler.set_node(NODE))
        for _ in range(30):
            await asyncio.sleep(0.01)
            agent.touch(())
        before = kernel.asked
        await asyncio.sleep(1)
        task.cancel()
    assert 3 <= kernel.asked - before <= 6
