"""`python -m steppe_lab.controllers --kubeconfig FILE`: all of it in one process."""

import asyncio
import contextlib
import logging
import signal

import click

from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.errors import SteppeError
from steppe.log import set_up
from steppe_lab.controllers.daemonset import DaemonSetController
from steppe_lab.controllers.deployment import DeploymentController
from steppe_lab.controllers.endpointslice import EndpointSliceController
from steppe_lab.controllers.garbage import GarbageCollector
from steppe_lab.controllers.mirroring import MirroringController
from steppe_lab.controllers.namespaces import NamespaceController
from steppe_lab.controllers.nodelife import NodeLifecycleController
from steppe_lab.controllers.replicaset import ReplicaSetController
from steppe_lab.controllers.scheduler import Scheduler
from steppe_lab.controllers.statefulset import StatefulSetController
from steppe_lab.controllers.world import World


async def run(kubeconfig: str | None) -> None:
    """Run every controller until cancelled."""
    async with (
        Client(load_config(kubeconfig), "steppe-lab-controllers") as client,
        asyncio.TaskGroup() as group,
    ):
        world = World(client)
        synced = world.watch(group)
        group.create_task(world.events.run())
        for complete in synced:
            await complete.wait()
        for controller in (
            Scheduler(world),
            DeploymentController(world),
            ReplicaSetController(world),
            DaemonSetController(world),
            StatefulSetController(world),
            EndpointSliceController(world),
            MirroringController(world),
            NamespaceController(world),
            GarbageCollector(world),
            NodeLifecycleController(world),
        ):
            group.create_task(controller.run())
        logging.getLogger(__name__).info("all controllers are running")


async def _until_signalled(kubeconfig: str | None) -> None:
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await run(kubeconfig)


@click.command()
@click.option("--kubeconfig", help="Credentials; without it, the pod's service account.")
def main(kubeconfig: str | None) -> None:
    """Scheduler and controllers for a lab, through the public API only."""
    set_up()
    try:
        asyncio.run(_until_signalled(kubeconfig))
    except SteppeError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
