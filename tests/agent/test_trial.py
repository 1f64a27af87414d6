"""Whether a pod could be attached is tried before a pod asks for it."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from errno import EROFS

import pytest

from steppe.agent.cni import trial as module
from steppe.agent.cni.attach import Attachments
from steppe.agent.cni.server import CniServer
from steppe.agent.cni.trial import Trial
from steppe.agent.node.passes import Passes
from steppe.drivers.fake import FakeKernel
from steppe.drivers.fake_namespaces import FakeNamespaces
from steppe.drivers.namespaces import TrialNode
from steppe.net.address import IPNetwork, parse_prefix
from steppe.plan.diff import Change
from steppe.state.sysctl import SysctlKey
from tests.agent.cni_fake import ETH0, Told, document, env, path
from tests.waiting import until_async

BOTH = (parse_prefix("10.244.1.0/24"), parse_prefix("fd00:10:244:1::/64"))


class View:
    name = "node-a"
    mtu = 1450
    refused = ""

    def __init__(self, prefixes: tuple[IPNetwork, ...] = BOTH) -> None:
        self.prefixes = prefixes

    def why_not_ready(self) -> str:
        return "" if self.prefixes else "no prefix"


class Nodes:
    """Throw-away nodes in memory, on which settings cannot be written while `read_only`."""

    def __init__(self, *, read_only: bool = False) -> None:
        self.read_only = read_only
        self.made = 0
        self.left: list[dict[str, str]] = []

    @contextlib.contextmanager
    def __call__(self) -> Iterator[TrialNode]:
        self.made += 1
        host = FakeKernel()
        host.refuse = self._errno
        namespaces = FakeNamespaces(host)
        namespaces.make("/trial")
        yield TrialNode(host, namespaces, "/trial")
        self.left.append(host.aliases())

    def _errno(self, change: Change) -> int:
        return EROFS if self.read_only and isinstance(change.key, SysctlKey) else 0


async def test_an_attempt_that_goes_well_leaves_nothing() -> None:
    nodes = Nodes()
    trial = Trial(View(), nodes, Passes())
    assert "not been tried" in trial.why
    await trial.attempt()
    assert trial.why == ""
    assert trial.passed.is_set()
    assert nodes.left == [{}]


async def test_settings_that_cannot_be_written_are_told_with_the_cure() -> None:
    nodes = Nodes(read_only=True)
    trial = Trial(View(), nodes, Passes())
    await trial.attempt()
    assert "Read-only file system" in trial.why
    assert "make its container privileged" in trial.why
    assert not trial.passed.is_set()
    nodes.read_only = False
    await trial.attempt()
    assert trial.why == ""


async def test_attempts_go_on_until_one_goes_well_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.01)
    view, nodes = View(()), Nodes(read_only=True)
    trial = Trial(view, nodes, Passes())

    async def is_well() -> bool:
        return trial.passed.is_set()

    async def was_tried_twice() -> bool:
        return nodes.made >= 2

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(trial.run())
        await asyncio.sleep(0.05)
        assert nodes.made == 0  # nothing to try before the node has prefixes
        view.prefixes = BOTH
        await until_async(was_tried_twice, 30, "it is tried again")
        nodes.read_only = False
        await until_async(is_well, 30, "an attempt goes well")
        made = nodes.made
        await asyncio.sleep(0.05)
        assert nodes.made == made
        task.cancel()


async def test_adds_that_fail_by_the_hundred_are_no_reason_for_an_attempt_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 600.0)
    nodes = Nodes()
    trial = Trial(View(), nodes, Passes())
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(trial.run())
        await trial.passed.wait()
        for _ in range(20):
            trial.again()
            await asyncio.sleep(0.005)
        task.cancel()
    assert nodes.made == 1


async def test_status_says_why_and_a_refused_add_is_a_reason_to_try_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    kernel, nodes = FakeKernel((ETH0,)), Nodes()
    namespaces = FakeNamespaces(kernel)
    view = View()
    trial = Trial(view, nodes, Passes())
    server = CniServer(view, Told(), Attachments(view, kernel, namespaces), trial=trial)
    not_tried = await server.answer(document("STATUS", {}))
    assert not_tried["stdout"]["code"] == 50
    assert trial.why in not_tried["stdout"]["msg"]
    namespaces.make(path("web"))
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(trial.run())
        await trial.passed.wait()
        assert await server.answer(document("STATUS", {})) == {"exit": 0, "stdout": None}
        kernel.refuse, nodes.read_only = Nodes(read_only=True)._errno, True
        refused = await server.answer(document("ADD", env("web")))
        assert refused["stdout"]["code"] == 102

        async def is_told() -> bool:
            return (await server.answer(document("STATUS", {})))["exit"] == 1

        await until_async(is_told, 30, "STATUS says so")
        task.cancel()
    server.close()


READ_ONLY = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && "
ATTEMPT = """
import asyncio, json, pathlib
from steppe.agent.cni.trial import Trial
from steppe.agent.node.passes import Passes
from steppe.drivers.kernel import KernelDriver
from steppe.drivers.trial import trial_node
from tests.agent.test_trial import View

async def main():
    with KernelDriver() as own:
        before = own.aliases()
        trial = Trial(View(), trial_node, Passes())
        await trial.attempt()
        fds = len(list(pathlib.Path("/proc/self/fd").iterdir()))
        await trial.attempt()
        leaked = len(list(pathlib.Path("/proc/self/fd").iterdir())) - fds
        print(json.dumps({"why": trial.why, "changed": own.aliases() != before, "fds": leaked}))

asyncio.run(main())
"""


@pytest.mark.kernel
@pytest.mark.parametrize(("mounts", "refused"), [("", False), (READ_ONLY, True)])
def test_the_kernel_lets_a_pod_be_attached_unless_its_settings_are_read_only(
    mounts: str, refused: bool
) -> None:
    argv = ["unshare", "--net", "--mount", "sh", "-c", f'{mounts}exec "$@"', "sh"]
    done = subprocess.run(
        [*argv, sys.executable, "-c", ATTEMPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert ("Read-only file system" in told["why"]) is refused
    assert bool(told["why"]) is refused
    assert told["changed"] is False
    assert told["fds"] == 0
