"""`python -m steppe_lab.apiserver`: the flags, and nothing else."""

import asyncio
import sys
from pathlib import Path

import click

from steppe.errors import SteppeError
from steppe.log import set_up
from steppe_lab.apiserver.server import Settings, serve

_FAMILIES = {"dual": ("IPv4", "IPv6"), "ipv4": ("IPv4",), "ipv6": ("IPv6",)}


@click.command(help="An embedded Kubernetes API server.")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="State folder.")
@click.option("--listen", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, help="Port; 0 takes a free one.")
@click.option("--cluster-ip-range4", default="10.96.0.0/16", show_default=True)
@click.option("--cluster-ip-range6", default="fd00:10:96::/112", show_default=True)
@click.option("--family", type=click.Choice(sorted(_FAMILIES)), default="dual", show_default=True)
def main(  # noqa: PLR0917 - click passes them by name
    data: Path,
    listen: str,
    port: int,
    cluster_ip_range4: str,
    cluster_ip_range6: str,
    family: str,
) -> None:
    set_up()
    settings = Settings(data, listen, port, cluster_ip_range4, cluster_ip_range6, _FAMILIES[family])
    try:
        asyncio.run(serve(settings))
    except SteppeError as error:
        click.echo(f"steppe_lab.apiserver: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
