"""`steppe verify`: real packets through a lab, held against what they should do."""

import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click
import msgspec

from steppe.cli.explain import kernels_of
from steppe.cli.settings import settings_of
from steppe.cli.source import BadInput, Source, claim_options, live_options, load
from steppe.errors import SteppeError
from steppe_lab.cli.source import lab_record

if TYPE_CHECKING:
    from steppe.explain.model import Explanation
    from steppe.manifests.cluster import Loaded
    from steppe_lab.verify import Report, Wrong

SCHEMA = "steppe.verify/v1"
_PROGRESS_SECONDS = 1.0
_EXPLAINED = 10
_FASTEST = 1e6
_NO_TABLE = (
    "The tables are as they shall be, so something else acts on these packets: `steppe audit` "
    "lists others' rules, settings and flows."
)
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
    nodes and every pair of ends that policies tell apart.

    It needs the pods' network namespaces at hand, so it verifies labs only, and only from the
    machine that they are on.

    Exit code: 0 all as it should be, 1 some not, 2 bad usage or input.
    """
    if source.kubeconfig or source.context:
        raise BadInput(
            "verify probes labs only for now: a cluster's pods can be entered only on their own "
            "nodes; `steppe explain --actual` and `steppe audit` look at a cluster's kernels"
        )
    began = time.monotonic()
    loaded = load(source)
    report = _verified(loaded, source, asked)
    explained = _explained(loaded, source, report)
    if output == "json":
        document = _document(report, explained, time.monotonic() - began)
        click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
    else:
        for line in _lines(report, explained, time.monotonic() - began):
            click.echo(line)
    sys.exit(1 if report.wrong else 0)


def _verified(loaded: "Loaded", source: Source, asked: dict[str, Any]) -> "Report":
    from steppe.verify.plan import wanted_ports
    from steppe_lab.verify import observed_ends_of, verify_lab

    places = observed_ends_of(lab_record(source.lab), loaded.cluster)
    wanted = wanted_ports(asked["ports"], [name.upper() for name in asked["protocols"]])
    every, rate = asked["every"], asked["rate"]
    report = verify_lab(loaded, places, wanted, _progress(), every=every, rate=rate)
    if not report.sent:
        raise BadInput(
            "there is nothing to send: no pod of the lab is up (for example `kubectl apply -f "
            "examples/app.yaml`), or no Service has what --port and --protocol leave"
        )
    return report


def _progress() -> Any:
    """Once a second a line that replaces the last, for people at a terminal."""
    said = time.monotonic()

    def say(sent: int, total: int) -> None:
        nonlocal said
        if sys.stderr.isatty() and time.monotonic() > said + _PROGRESS_SECONDS:
            said = time.monotonic()
            click.echo(f"{sent} of {total} packets sent\r", err=True, nl=False)

    return say


class _Pair(msgspec.Struct, frozen=True):
    """Why a packet should do what it should, and what the kernels make of it."""

    desired: "Explanation"
    actual: "Explanation"


class _Group(msgspec.Struct, frozen=True):
    """Packets that most likely went wrong for one reason; the first is explained, if any is."""

    wrong: "tuple[Wrong, ...]"
    pair: _Pair | None
    failed: str = ""


def _explained(loaded: "Loaded", source: Source, report: "Report") -> list[_Group]:
    """The packets that went wrong, by where they went: between two nodes one reason will do."""
    pods = {f"{ns}/{name}": pod.node for (ns, name), pod in loaded.cluster.pods.items()}
    groups: dict[object, list[Wrong]] = {}
    for wrong in report.wrong:
        check, fates = wrong.check, tuple(prediction.fate for prediction in wrong.predictions)
        ends = pods.get(check.source, check.source), pods.get(check.target, check.target)
        key = (ends, check.packet.source.version, fates, wrong.seen.answered, wrong.seen.refused)
        groups.setdefault(key, []).append(wrong)
    found = []
    for number, group in enumerate(groups.values()):
        pair, failed = None, ""
        if number < _EXPLAINED:
            try:
                pair = _both(loaded, source, group[0])
            except SteppeError as error:
                failed = str(error)
        found.append(_Group(tuple(group), pair, failed))
    return found


def _both(loaded: "Loaded", source: Source, wrong: "Wrong") -> _Pair:
    from steppe.explain.explain import Explainer
    from steppe.explain.tables import compiled

    settings = settings_of(loaded, source)
    kernels = kernels_of(loaded, settings, source)
    check, packet = wrong.check, wrong.check.packet
    port = str(packet.destination_port or "")
    family = packet.source.version
    said = []
    for tables in (compiled(settings) if settings is not None else None, kernels.in_tables):
        explainer = Explainer(loaded.cluster, tables, loaded.settings)
        flow, notes = explainer.flow(check.source, check.target, port, packet.protocol)
        said.append(explainer.explain(flow, family, notes))
    return _Pair(said[0], kernels.marked(said[1]))


def _lines(report: "Report", groups: Iterable[_Group], seconds: float) -> Iterator[str]:
    from steppe.cli.explain_text import text
    from steppe.verify.judge import said_of, said_seen

    width = shutil.get_terminal_size((100, 24)).columns
    for group in groups:
        for wrong in group.wrong:
            yield click.style(_title(wrong), fg="red", bold=True)
            yield f"  should: {said_of(wrong.predictions)}"
            yield f"  did:    {said_seen(wrong.seen)}"
        if group.pair is not None:
            for title, said in (
                ("What it should do", group.pair.desired),
                ("What the kernels make of it", group.pair.actual),
            ):
                yield f"\n  {title}:"
                yield from (f"    {line}".rstrip() for line in text(said, width - 4).splitlines())
            if not group.pair.actual.differences and not group.pair.actual.conflicts:
                yield f"\n  {_NO_TABLE}"
        elif group.failed:
            yield f"  not explained: {group.failed}"
        else:
            yield f"  not explained: there are {_EXPLAINED} explanations above"
        yield ""
    if report.skipped:
        yield f"not verified, for they are not up: {', '.join(report.skipped)}"
    count = len(report.wrong)
    verdict = f"{count} did not do what they should" if count else "all did what they should"
    yield f"{report.sent} packets in {seconds:.1f} s: {verdict}"


def _title(wrong: "Wrong") -> str:
    packet = wrong.check.packet
    port = f" {packet.destination_port}" if packet.destination_port else ""
    target, address = wrong.check.target, str(packet.destination)
    at = "" if target == address else f" ({address})"
    return f"{wrong.check.source} to {target}{at}, {packet.protocol}{port}"


def _document(report: "Report", groups: Iterable[_Group], seconds: float) -> dict[str, Any]:
    from steppe.explain.document import document
    from steppe.verify.judge import said_of, said_seen

    found = []
    for group in groups:
        pair = group.pair
        found += [
            {
                "from": wrong.check.source,
                "to": wrong.check.target,
                "packet": str(wrong.check.packet),
                "should": said_of(wrong.predictions),
                "did": said_seen(wrong.seen),
                "desired": document(pair.desired) if pair and not number else None,
                "actual": document(pair.actual) if pair and not number else None,
            }
            for number, wrong in enumerate(group.wrong)
        ]
    return {
        "schema": SCHEMA,
        "sent": report.sent,
        "seconds": round(seconds, 1),
        "mismatches": found,
        "notVerified": list(report.skipped),
    }
