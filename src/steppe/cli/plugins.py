"""What other installed distributions add to the command line, by their entry points.

    steppe.commands    NAME = a click command, which `steppe NAME` runs
    steppe.sources     lab = a function from a lab's name ("" for the only one) to its LabRecord

steppe-lab is the one in this repository. A lookup reads the metadata of every installed
distribution (20 ms of CPU in a development environment), so it is made only when it is needed.
"""

from typing import Any, Protocol

import click

COMMANDS = "steppe.commands"
SOURCES = "steppe.sources"


class PluginError(click.ClickException):
    """A command or source of another distribution is not installed or cannot be loaded."""

    exit_code = 2


class LabOptions(Protocol):
    """The options of a lab that the core uses."""

    @property
    def name(self) -> str: ...
    @property
    def fabric(self) -> str: ...


class LabRecord(Protocol):
    """The part of a lab's record that the core uses: its API, its options and its log files."""

    @property
    def kubeconfig(self) -> str: ...
    @property
    def options(self) -> LabOptions: ...
    @property
    def logs(self) -> dict[str, str]:
        """The file to which each of the lab's processes writes, such as `agent/NODE`."""
        ...


def plugin(group: str, name: str) -> Any | None:
    """The object that an installed distribution registered under this name; None if none did."""
    from importlib.metadata import entry_points

    for entry in entry_points(group=group, name=name):
        try:
            return entry.load()
        except (ImportError, AttributeError) as error:
            owner = entry.dist.name if entry.dist is not None else entry.value
            raise PluginError(f"{name!r} of {owner} cannot be loaded: {error}") from error
    return None


def missing(what: str, distribution: str) -> PluginError:
    """The error for a feature of a distribution that is not installed."""
    return PluginError(
        f"{what} comes with {distribution}, which is not installed: pip install {distribution}"
    )
