"""A node's CNI server as a process of its own, so that tests can kill it at any step.

python -m tests.agent.cni_node STATE_DIR PREFIXES [STEP]: serves STATE_DIR/cni.sock in the
namespace it is started in, and dies by SIGKILL right after the named step (`STEP:3`: the third
time). On SIGUSR1 it
repairs every workload it was told of.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec

from steppe.agent.cni.attach import Attachments
from steppe.agent.cni.gate import UnguardedError
from steppe.agent.cni.server import CniServer
from steppe.drivers.kernel import KernelDriver
from steppe.drivers.kernel_namespaces import KernelNamespaces
from steppe.kube.objects import Workload
from steppe.net.address import IPNetwork, parse_prefix

UNGUARDED = "unguarded"
"""In place of a fatal step: no pod's policies ever get into the kernel."""


class View(msgspec.Struct, frozen=True):
    prefixes: tuple[IPNetwork, ...]
    name: str = "node-a"
    mtu: int = 1450
    refused: str = ""


class Told:
    """Writes down what the agent would be told, one line each."""

    def __init__(self, path: Path, *, guards: bool) -> None:
        self._path = path
        self._guards = guards
        self.workloads: dict[str, Workload] = {}

    def attached(self, workload: Workload) -> None:
        self.workloads[workload.link] = workload
        self._add(f"attached {workload.namespace}/{workload.name} {workload.link}")

    async def guarded(self, workload: Workload) -> None:
        """No policies here: nothing to wait for, or all for nothing."""
        if not self._guards:
            raise UnguardedError(f"the policies of {workload.ref} are not known")

    def detached(self, link: str) -> None:
        self.workloads.pop(link, None)
        self._add(f"detached {link}")

    def _add(self, text: str) -> None:
        with self._path.open("a") as file:
            file.write(f"{text}\n")


async def serve(state: Path, prefixes: str, fatal_step: str) -> None:
    fatal, _, times = fatal_step.partition(":")
    countdown = iter(range(int(times or 1) - 1, -1, -1))

    def on_step(name: str) -> None:
        if name == fatal and next(countdown) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    view = View(tuple(map(parse_prefix, filter(None, prefixes.split(",")))))
    told = Told(state / "told", guards=fatal != UNGUARDED)
    attachments = Attachments(view, KernelDriver(), KernelNamespaces())
    server = CniServer(view, told, attachments, on_step)
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, asked.set)
    await server.clean_up()
    async with server.serving(state / "cni.sock"):
        (state / "ready").touch()
        while await asked.wait():
            asked.clear()
            for workload in tuple(told.workloads.values()):
                await server.repair(workload)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""))
