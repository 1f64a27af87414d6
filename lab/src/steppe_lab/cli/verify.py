"""`steppe verify`: real packets through a lab, held against what they should do."""

import shutil
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
import msgspec

from steppe.cli.explain import explainer_for, kernels_of
from steppe.cli.settings import settings_of
from steppe.cli.source import BadInput, Source, claim_options, live_options, load
from steppe.errors import SteppeError
from steppe_lab.cli.source import lab_record

if TYPE_CHECKING:
    from steppe.explain.explain import Explainer
    from steppe.explain.model import Explanation
    from steppe.manifests.cluster import Loaded
    from steppe.verify.plan import Check
    from steppe_lab.cli.verify_text import Cause, Explained
    from steppe_lab.verify import ObservedEnds, Report, Wrong

_PROGRESS_SECONDS = 1.0
_EXPLAINED = 10
_FASTEST = 1e6
_PROTOCOLS = ("tcp", "udp", "sctp", "icmp")


def _rate(text: str) -> float:
    """`100` or `100/s`."""
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        rate = 0
    if not 0 < rate <= _FASTEST:  # which nan is not, either
        raise click.BadParameter(f"{text!r} is no rate such as 100/s")
    return rate


@click.command(epilog="Example: steppe verify --all --port 8080 --protocol tcp")
@claim_options
@live_options
@click.option("--all", "every", is_flag=True, help="Every pair; default: a sample of each class.")
@click.option(
    "--port",
    "ports",
    multiple=True,
    type=click.IntRange(1, 65535),
    help="Only to these; default: one of each stretch of ports that policies tell apart.",
)
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    type=click.Choice(_PROTOCOLS, case_sensitive=False),
    help="Only these; default: all, or tcp where --port is given.",
)
@click.option("--rate", type=_rate, default="1000/s", show_default=True, metavar="N/s")
@click.option("-o", "--output", type=click.Choice(("text", "json")), default="text")
def verify(source: Source, output: str, **asked: Any) -> None:
    """Send real packets from pods and nodes, and tell which do not do what they should.

    What they should do is what Kubernetes promises. Packets go between pods, to and from nodes,
    through Services and node ports, and to outside. Nobody needs to listen at a port: verify sees
    in each receiver's namespace what arrives, and from whom. The sample crosses every pair of
    nodes and every pair of ends that policies tell apart. Between each pair of nodes, and to the
    outside, packets that may not be fragmented tell whether the path takes its MTU, and whether
    senders of larger ones are told: a path that loses them without a word is a black hole.

    Packets that one cause stops are told together, with the entry of a table and the object behind
    it, or the rule of any program, that stops them. -o json lists them all.

    It needs the pods' network namespaces at hand, so it verifies labs only, and only from the
    machine that they are on.

    Exit code: 0 all as it should be, 1 some not, 2 bad usage or input.
    """
    if source.kubeconfig or source.context:
        raise BadInput(
            "verify probes labs only for now: a cluster's pods can be entered only on their own "
            "nodes; `steppe explain --actual` and `steppe audit` look at a cluster's kernels"
        )
    from steppe_lab.cli.verify_text import as_document, lines
    from steppe_lab.verify import observed_ends_of

    began = time.monotonic()
    loaded = load(source)
    ends = observed_ends_of(lab_record(source.lab), loaded.cluster)
    progress = Progress()
    report = _verified(loaded, source, ends, asked, progress)
    found, causes = _causes(loaded, source, ends, report, rate=asked["rate"], to=progress)
    progress.end()
    seconds = time.monotonic() - began
    if output == "json":
        text = msgspec.json.encode(as_document(report, causes, found, seconds))
        click.echo(msgspec.json.format(text).decode())
    else:
        width = shutil.get_terminal_size((100, 24)).columns
        for line in (*lines(report, causes, width, seconds), *found):
            click.echo(line)
    sys.exit(1 if report.wrong else 0)


class Progress:
    """At most once a second a line that replaces the last, for people at a terminal."""

    def __init__(self) -> None:
        self._said = time.monotonic()
        self._width = 0

    def say(self, text: str) -> None:
        if sys.stderr.isatty() and time.monotonic() > self._said + _PROGRESS_SECONDS:
            self._said = time.monotonic()
            click.echo(f"{text.ljust(self._width)}\r", err=True, nl=False)
            self._width = len(text)

    def end(self) -> None:
        """Leave an empty line behind."""
        if self._width:
            click.echo(" " * self._width + "\r", err=True, nl=False)


def _verified(
    loaded: "Loaded", source: Source, ends: "ObservedEnds", asked: dict[str, Any], to: Progress
) -> "Report":
    from steppe.verify.plan import wanted_ports
    from steppe_lab.verify import verify_lab

    report = verify_lab(
        loaded,
        ends,
        wanted_ports(asked["ports"], [name.upper() for name in asked["protocols"]]),
        lambda sent, total: to.say(f"{sent} of {total} packets sent"),
        every=asked["every"],
        rate=asked["rate"],
        mtu=_mtu_of(loaded, source, to),
    )
    if not report.sent:
        raise BadInput(
            "there is nothing to send: no pod of the lab is up (for example `kubectl apply -f "
            "examples/app.yaml`), or no Service has what --port and --protocol leave"
        )
    return report


def _mtu_of(loaded: "Loaded", source: Source, to: Progress) -> Callable[["Check"], int]:
    """How many bytes a packet's path takes, by the tables as they should be; 0 if unknown."""
    settings = settings_of(loaded, source)
    if settings is None:
        return lambda _: 0
    explainer = explainer_for(loaded, settings, None)

    def mtu(check: "Check") -> int:
        to.say(f"the MTU of the path from {check.source} to {check.target}")
        said = _explanation(explainer, check)
        bounds = (path.mtu for case in said.cases for path in case.paths)
        return min((bound.bytes for bound in bounds if bound is not None), default=0)

    return mtu


def _explanation(explainer: "Explainer", check: "Check") -> "Explanation":
    packet = check.packet
    port = str(packet.destination_port or "")
    flow, notes = explainer.flow(check.source, check.target, port, packet.protocol)
    return explainer.explain(flow, packet.source.version, notes)


def _causes(
    loaded: "Loaded",
    source: Source,
    ends: "ObservedEnds",
    report: "Report",
    *,
    rate: float,
    to: Progress,
) -> "tuple[tuple[str, ...], list[Cause]]":
    """Notes, and the wrong packets by cause; those whose cause is not known are explained."""
    from steppe.cli.agents import sockets
    from steppe_lab.causes import causes_of
    from steppe_lab.cli.verify_text import Cause

    if not report.wrong:
        return (), []
    agents = sockets(lab_record(source.lab).options.name, None)
    found = causes_of(loaded.cluster, ends, report.wrong, agents, rate=rate, say=to.say)
    causes = []
    for number, group in enumerate(found.groups):
        explained, failed = None, ""
        if number < _EXPLAINED:
            to.say(f"cause {number + 1} of {len(found.groups)} is explained")
            try:
                explained = _both(loaded, source, group.members[0])
            except SteppeError as error:
                failed = str(error)
        causes.append(Cause(group, explained, failed))
    return found.notes, causes


def _both(loaded: "Loaded", source: Source, wrong: "Wrong") -> "Explained":
    from steppe_lab.cli.verify_text import Explained

    settings = settings_of(loaded, source)
    kernels = kernels_of(loaded, settings, source)
    desired = _explanation(explainer_for(loaded, settings, None), wrong.check)
    actual = _explanation(explainer_for(loaded, settings, kernels), wrong.check)
    return Explained(desired, kernels.marked(actual))
