"""`steppe`: one command a module, imported only when it is the one that runs.

Commands of other distributions are found by their entry points (`steppe.cli.plugins`).
"""

import gc
import importlib
import sys
from typing import Any

import click

from steppe.cli.plugins import COMMANDS as GROUP
from steppe.cli.plugins import missing, plugin
from steppe.cli.terminal import harmless_output
from steppe.errors import SteppeError

# Command → its module in steppe.cli and its line in `steppe --help`, so that help imports nothing.
# No module: a command of another distribution.
COMMANDS = {
    "explain": ("explain", "Whether one end reaches another, by which way, and why."),
    "lab": ("", "A multi-node cluster network on this machine."),
    "show": ("show", "A table of a node, every row with its cause."),
    "audit": ("show", "Compare the kernel with what the agent wants."),
    "reach": ("reach", "Who reaches whom: all pairs at once, and why."),
    "verify": ("", "Send real packets, and compare what they do with what they should."),
    "denied": ("denied", "Packets that policies denied, and the policies that did."),
    "diff": ("diff", "What a change of manifests would do to traffic and tables."),
    "compare": ("compare", "Two sets of policies: the same? One set: redundant, conflicting?"),
    "bgp": ("bgp", "BGP sessions of each node, and why one is missing."),
    "status": ("status", "How each node's agent is doing."),
    "lint": ("lint", "What in policies and Services has no effect, or not the one meant."),
    "sysdump": ("sysdump", "One archive of what helps to find a fault, without secrets."),
    "doctor": ("doctor", "What this machine has of what Steppe needs."),
}
ELSEWHERE = {"lab": "steppe-lab", "verify": "steppe-lab"}


class Lazy(click.Group):
    """A group whose commands are known by name and imported late."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        module_name = COMMANDS.get(cmd_name, ("", ""))[0]
        command: click.Command | None
        if module_name:
            module = importlib.import_module(f"steppe.cli.{module_name}")
            command = getattr(module, cmd_name)
        else:
            command = plugin(GROUP, cmd_name)
            if command is None and cmd_name in ELSEWHERE:
                raise missing(f"`steppe {cmd_name}`", ELSEWHERE[cmd_name])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def main(self, *args: Any, **kw: Any) -> Any:
        """Text of objects, kernels and files is shown as it is read, and steers no terminal."""
        # A command keeps most of what it reads and ends soon: looking through it for cycles as
        # often as Python does costs a fifth of its time.
        gc.set_threshold(100_000, 20, 100)
        with harmless_output():
            return super().main(*args, **kw)

    def invoke(self, ctx: click.Context) -> Any:
        """A SteppeError is shown as a message with exit code 1, without a traceback."""
        try:
            return super().invoke(ctx)
        except SteppeError as error:
            click.echo(f"steppe: {error}", err=True)
            sys.exit(1)


@click.command(cls=Lazy, help="A Kubernetes network you can see across.")
@click.version_option(package_name="steppe")
def main() -> None:
    pass
