"""The controller as a cluster runs it: a process, two of them even, against the embedded API."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.client.resources import LEASES, NODES
from tests.apiserver.cluster import Server


async def test_one_of_two_controllers_leads_and_the_other_takes_over(tmp_path: Path) -> None:
    server = Server(tmp_path / "api")
    server.start()
    credentials = str(server.kubeconfig)
    command = [sys.executable, "-m", "steppe.controller", "--kubeconfig", credentials]
    command += ["--pod-cidr4=10.9.0.0/16", "--pod-cidr6=fd09::/56"]
    running = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
    by_pid = {str(process.pid): process for process in running}
    try:
        async with Client(load_config(credentials)) as client, asyncio.timeout(60):
            await client.create(NODES, {"metadata": {"name": "a"}})
            assert await prefixes(client, "a") == ["10.9.0.0/24", "fd09::/64"]
            first = by_pid.pop(await holder(client))
            first.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(first.wait, 10) == 0
            await client.create(NODES, {"metadata": {"name": "b"}})
            assert await prefixes(client, "b") == ["10.9.1.0/24", "fd09:0:0:1::/64"]
            assert await holder(client) in by_pid
    finally:
        for process in running:
            process.kill()
            process.wait()
        server.stop()


async def prefixes(client: Client, name: str) -> list[str]:
    while not (given := (await client.get(NODES, name))["spec"].get("podCIDRs")):
        await asyncio.sleep(0.02)
    return list(given)


async def holder(client: Client) -> str:
    """The process id of the leader, which is part of its name."""
    lease = await client.get(LEASES, "steppe-controller", "kube-system")
    return str(lease["spec"]["holderIdentity"]).rsplit("_", 2)[1]
