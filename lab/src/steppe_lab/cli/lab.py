"""`steppe lab`: up, down, status, exec, probe, restart."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
from tabulate import tabulate

from steppe.fabric.registry import FABRICS, summaries
from steppe_lab.record import LabError, Options, read_record

_FAMILIES = ("dual", "ipv4", "ipv6")

_name = click.option("--name", default="lab", show_default=True, help="Which lab.")
_output = click.option(
    "-o", "--output", type=click.Choice(("text", "json")), default="text", show_default=True
)


@click.group(help="A multi-node cluster network on this machine, in network namespaces.")
def lab() -> None:
    pass


@lab.command(epilog="Example: steppe lab up --nodes 5 --topology racks -f app.yaml")
@_name
@click.option("--nodes", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option("--family", type=click.Choice(_FAMILIES), default="dual", show_default=True)
@click.option(
    "--fabric",
    type=click.Choice(tuple(FABRICS)),
    default="auto",
    show_default=True,
    help=f"How nodes reach each other's pods; {summaries()}.",
)
@click.option(
    "--topology",
    type=click.Choice(("flat", "racks")),
    default="flat",
    show_default=True,
    help="One subnet, or two joined by a router.",
)
@click.option(
    "--api",
    metavar="KUBECONFIG",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="Use this API server, in place of the embedded one.",
)
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Manifests to apply once all nodes are Ready; folders are searched.",
)
def up(files: tuple[Path, ...], api: str | None, **options: Any) -> None:
    """Bring a lab up and wait until all its nodes are Ready."""
    from steppe_lab.up import up as bring_up

    chosen = msgspec.convert({**options, "api": api or ""}, Options)
    began = time.monotonic()
    record = bring_up(chosen, files, _progress(began))
    which = "" if chosen.name == "lab" else f" --name {chosen.name}"
    click.echo(
        f"Lab {chosen.name!r} is up: {chosen.nodes} nodes in {time.monotonic() - began:.1f} s."
        " Go on with:\n\n"
        f"  export KUBECONFIG={record.kubeconfig}\n"
        "  kubectl get nodes -o wide\n"
        f"  steppe lab exec{which} node/node-a -- ip route\n"
        f"  steppe lab probe{which}\n"
        f"  steppe lab down{which}"
    )


def _progress(began: float) -> Callable[[str], None]:
    """Progress goes to stderr, each line with the seconds since the start."""

    def say(text: str) -> None:
        click.echo(f"[{time.monotonic() - began:5.1f} s] {text}", err=True)

    return say


@lab.command(epilog="Example: steppe lab down --all")
@_name
@click.option("--all", "every", is_flag=True, help="Every lab on this machine.")
def down(name: str, every: bool) -> None:
    """Take a lab down; works after a crash too, and a second time."""
    from steppe_lab import down as downing

    for each in downing.labs() if every else (name,):
        removed = downing.down(each)
        if removed.existed or removed.processes or removed.namespaces:
            click.echo(
                f"Lab {each!r} is down:"
                f" {removed.processes} processes, {removed.namespaces} namespaces removed."
            )
        elif not every:
            click.echo(f"Lab {each!r} was not up.")


@lab.command(epilog="Example: steppe lab status -o json")
@_name
@_output
def status(name: str, output: str) -> None:
    """Processes, nodes and pods of a lab; exit code 1 if anything is not well."""
    from steppe_lab.status import status as status_of

    seen = asyncio.run(status_of(read_record(name)))
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(seen)))
    else:
        rows = [
            (each.name, each.pid if each.alive else "ended", each.log) for each in seen.processes
        ]
        click.echo(tabulate(rows, ("PROCESS", "PID", "LOG"), "plain"))
        nodes = [
            (each.name, "Ready" if each.ready else "NotReady", each.pods, ",".join(each.addresses))
            for each in seen.nodes
        ]
        click.echo("\n" + tabulate(nodes, ("NODE", "STATUS", "PODS", "ADDRESSES"), "plain"))
        click.echo(f"\n{seen.error or 'export KUBECONFIG=' + seen.kubeconfig}")
    sys.exit(0 if seen.well else 1)


@lab.command(name="exec", epilog="Example: steppe lab exec node/node-a -- ip -6 route")
@_name
@click.option("-c", "--container", default="", help="Which container; default: the first.")
@click.argument("target", metavar="[NAMESPACE/]POD|node/NAME|outside")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(name: str, container: str, target: str, command: tuple[str, ...]) -> None:
    """Run a command in a pod, on a node or on the outside host."""
    from steppe_lab.inside import command_in

    argv = (*command_in(read_record(name).options, target, container), *command)
    try:
        os.execvp(argv[0], argv)  # noqa: S606  the command is the user's own, and gets no shell
    except OSError as error:
        raise LabError(f"{argv[0]}: {error.strerror}") from error


@lab.command(epilog="Example: steppe lab restart agent/node-a")
@_name
@click.argument("process")
def restart(name: str, process: str) -> None:
    """Kill a process of the lab, if it lives, and start it again; `status` lists the names."""
    from steppe_lab.restart import restart as restart_one

    started = restart_one(name, process)
    click.echo(f"{process} runs again as process {started.pid}.")


@lab.command(epilog="Example: steppe lab probe --family ipv6 -o json")
@_name
@click.option("--family", type=click.Choice(_FAMILIES), default="dual", show_default=True)
@_output
def probe(name: str, family: str, output: str) -> None:
    """Send real packets between every pair of pods, nodes and outside; exit code 1 if any fails."""
    from steppe_lab.probe.report import text
    from steppe_lab.probe.run import probe_lab

    report = probe_lab(read_record(name), family, _progress(time.monotonic()))
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
    else:
        click.echo(text(report))
    sys.exit(0 if report.ok else 1)
