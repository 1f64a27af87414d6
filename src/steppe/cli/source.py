"""The cluster of a command: manifests, a kubeconfig's cluster, or a lab on this machine."""

import functools
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, get_args

import click
import msgspec

from steppe.cli.plugins import SOURCES, LabRecord, missing, plugin
from steppe.errors import SteppeError
from steppe.manifests.cluster import Loaded, loaded_from
from steppe.manifests.documents import Manifest
from steppe.net.address import IPNetwork
from steppe.settings import ExternalIPs, parse_prefixes

QUIET_SECONDS = 2.0

F = TypeVar("F", bound=Callable[..., Any])


class BadInput(click.ClickException):
    """An input cannot be used; the message says why and what would help."""

    exit_code = 2


class Source(msgspec.Struct, frozen=True):
    """The source of a cluster; at most one of the three is set.

    `pod_ranges` and `external_ips`: what its objects may claim, where that was given; None: what
    its agents say, or else their defaults.
    """

    filenames: tuple[str, ...] = ()
    kubeconfig: str = ""
    context: str = ""
    lab: str = ""
    pod_ranges: tuple[IPNetwork, ...] | None = None
    external_ips: ExternalIPs | None = None


class Read(msgspec.Struct, frozen=True):
    """The documents of a source, and what could not be read."""

    manifests: tuple[Manifest, ...]
    gaps: tuple[str, ...] = ()


_FILES = click.option(
    "-f",
    "--filename",
    "filenames",
    multiple=True,
    metavar="FILE|DIR|-",
    help="Manifests; folders are searched, - is standard input. May be repeated.",
)
_LIVE = (
    click.option("--lab", default="", metavar="NAME", help="A lab; default: the one that is up."),
    click.option("--context", default="", metavar="NAME", help="Which of a kubeconfig's contexts."),
    click.option("--kubeconfig", default="", metavar="FILE", help="A live cluster, read only."),
)


_RECURSIVE = click.option(
    "-R",
    "--recursive",
    is_flag=True,
    expose_value=False,
    help="As kubectl has it; folders are always searched.",
)


class _Prefixes(click.ParamType[tuple[IPNetwork, ...]]):
    name = "prefixes"

    def convert(self, value: Any, *_: object) -> tuple[IPNetwork, ...]:
        try:
            return parse_prefixes(str(value))
        except ValueError as error:
            raise click.BadParameter(str(error)) from error


_CLAIMS = (
    click.option(
        "--external-ips",
        type=click.Choice(get_args(ExternalIPs)),
        help="Whether Services may have externalIPs; default: as the agents say, or warn.",
    ),
    click.option(
        "--pod-ranges",
        type=_Prefixes(),
        metavar="CIDR,…",
        help="Where Nodes' podCIDRs must lie; default: as the agents say, or anywhere.",
    ),
)


def claim_options(command: F) -> F:
    """Adds the options that say what objects may claim, to a command that has a `source`."""
    wrapped: Any = command
    for option in _CLAIMS:
        wrapped = option(wrapped)
    result: F = wrapped
    return result


def options(command: F) -> F:
    """Adds the options that select a cluster; the command gets them as `source`."""
    return _FILES(_RECURSIVE(live_options(command)))


def live_options(command: F) -> F:
    """Adds only the options for running clusters, for commands in which -f means something else."""

    @functools.wraps(command)
    def with_source(
        *args: Any,
        kubeconfig: str,
        context: str,
        lab: str,
        filenames: tuple[str, ...] = (),
        pod_ranges: tuple[IPNetwork, ...] | None = None,
        external_ips: ExternalIPs | None = None,
        **kw: Any,
    ) -> Any:
        source = Source(filenames, kubeconfig, context, lab, pod_ranges, external_ips)
        return command(*args, source=source, **kw)

    wrapped: Any = with_source
    for option in _LIVE:
        wrapped = option(wrapped)
    result: F = wrapped
    return result


def load(source: Source) -> Loaded:
    """The cluster of the source; BadInput if it cannot be read."""
    from steppe.cli.settings import judged

    found = read(source)
    return judged(loaded_from(found.manifests, found.gaps), source)


def read(source: Source) -> Read:
    """The documents of the cluster, for commands that change them first."""
    live = bool(source.kubeconfig or source.context)
    if (len(source.filenames) > 0) + live + bool(source.lab) > 1:
        raise click.UsageError("give one of -f, --kubeconfig and --lab: which cluster is meant?")
    try:
        if source.filenames:
            return Read(_from_files(source.filenames))
        if live:
            return _from_server(source.kubeconfig, source.context)
        return _from_server(lab_record(source.lab).kubeconfig)
    except SteppeError as error:
        raise BadInput(str(error)) from error


def _from_files(filenames: tuple[str, ...]) -> tuple[Manifest, ...]:
    from steppe.client.files import manifests_in
    from steppe.client.folders import BUILT_BY

    progress = Progress()
    found = tuple(progress.over(manifests_in(filenames), "manifests"))
    built = (each.where.rpartition(":")[0] for each in found if each.where.startswith(BUILT_BY))
    for command in dict.fromkeys(built):
        click.echo(f"read as built: {command}", err=True)
    return found


def _from_server(kubeconfig: str, context: str = "") -> Read:
    # Imported late: reading files does not need the HTTP client.
    import asyncio

    from steppe.client.config import load_config
    from steppe.client.snapshot import snapshot

    found = asyncio.run(snapshot(load_config(kubeconfig, context), Progress()))
    return Read(found.manifests, found.gaps)


def config_of(kubeconfig: str, context: str) -> Any:
    """How to reach the API server of a kubeconfig; BadInput if it does not say."""
    from steppe.client.config import load_config

    try:
        return load_config(kubeconfig or None, context)
    except SteppeError as error:
        raise BadInput(str(error)) from error


def lab_record(lab: str) -> LabRecord:
    """The lab of this name, or the only one that is up (from steppe-lab)."""
    find = plugin(SOURCES, "lab")
    if find is not None:
        found: LabRecord = find(lab)
        return found
    if lab:
        raise missing("--lab NAME", "steppe-lab")
    raise click.UsageError(
        "which cluster? -f FILE reads manifests, --kubeconfig FILE a live cluster"
    )


class Progress:
    """Shows progress on a terminal, once a second from the third second on."""

    def __init__(self, doing: str = "reading") -> None:
        self._doing = doing
        self._next = time.monotonic() + QUIET_SECONDS
        self._shown = sys.stderr.isatty()

    def __call__(self, text: str) -> None:
        if self._shown and time.monotonic() >= self._next:
            click.echo(f"{self._doing}: {text}", err=True)
            self._next = time.monotonic() + 1

    def over(self, manifests: Iterator[Manifest], what: str) -> Iterator[Manifest]:
        for number, manifest in enumerate(manifests, start=1):
            self(f"{number} {what}, {manifest.where}")
            yield manifest
