"""`python -m steppe_lab.kubelet`: the kubelets of all nodes of a lab, in one process."""

import asyncio
import signal
from pathlib import Path

import click

from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.errors import SteppeError
from steppe.log import set_up
from steppe_lab.kubelet import kubelet
from steppe_lab.kubelet.config import load_lab


@click.command()
@click.option("--kubeconfig", required=True, help="Credentials for the API server.")
@click.option(
    "--lab-dir",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The lab's state folder, with its nodes.json.",
)
def main(kubeconfig: str, lab_dir: Path) -> None:
    """Run the pods of every node of a lab."""
    set_up()
    try:
        asyncio.run(_run(kubeconfig, lab_dir))
    except SteppeError as error:
        raise click.ClickException(str(error)) from error


async def _run(kubeconfig: str, lab_dir: Path) -> None:
    lab = load_lab(lab_dir)
    async with (
        Client(load_config(kubeconfig), user_agent="steppe-kubelet") as client,
        asyncio.TaskGroup() as group,
    ):
        running = group.create_task(kubelet.run(client, lab))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            # Pods go on: the next kubelet finds them.
            loop.add_signal_handler(number, running.cancel)


if __name__ == "__main__":
    main()
