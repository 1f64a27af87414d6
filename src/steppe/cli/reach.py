"""`steppe reach`: who reaches whom, all pairs at once."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import click
import msgspec

from steppe.cli.expectations import Expectation, judged, read_expectations
from steppe.cli.exposure import exposure_document, print_exposure, told
from steppe.cli.reach_page import about, page
from steppe.cli.reach_reasons import print_reasons, reasons_json
from steppe.cli.reach_table import (
    because_text,
    footnotes,
    print_flows,
    print_offers,
    print_wide,
)
from steppe.cli.refused import unknown_end
from steppe.cli.source import BadInput, Source, claim_options, load, options
from steppe.errors import SteppeError
from steppe.kube.cluster import Name
from steppe.manifests.api_service import with_api_service
from steppe.manifests.cluster import Loaded
from steppe.net.address import IPNetwork
from steppe.net.ports import EVERYTHING, PortSet, one_port, parse_ports
from steppe.reach.document import doubts_json, reach_document
from steppe.reach.ends import Chosen, Ends, asked_prefixes
from steppe.reach.expect import Failure
from steppe.reach.export import EXPORTS
from steppe.reach.flows import Flow, flows_to
from steppe.reach.groups import Member
from steppe.reach.matrix import Mask, bits
from steppe.reach.names import Names, member_name, workloads_of
from steppe.reach.outside import Outside
from steppe.reach.reach import Reach, reach_of
from steppe.reach.services import Offer, OfferRow, Offers


class Question(msgspec.Struct, frozen=True):
    """What was asked about a cluster; without ends everyone, and without ports every port."""

    senders: tuple[str, ...] = ()
    receivers: tuple[str, ...] = ()
    ports: PortSet = EVERYTHING
    namespace: str = ""


class Answer(msgspec.Struct, frozen=True):
    """The part of reach that was asked for."""

    reach: Reach
    names: Names
    senders: Mask
    receivers: Mask
    offers: tuple[Offer, ...]
    ways: tuple[Offer, ...] = ()
    dialled: tuple[Offer, ...] = ()
    exactly: bool = False

    def flows(self) -> Iterator[tuple[Flow, ...]]:
        """The flows to each receiver that has any."""
        for receiver in bits(self.receivers):
            found = flows_to(self.reach, receiver, self.senders, exactly=self.exactly)
            if found:
                yield found

    def services(self) -> Iterator[tuple[Offer, Sequence[OfferRow]]]:
        """The senders' outcomes at each Service port, those inside and those outside."""
        offers = Offers(self.reach)
        outside = Outside(offers)
        rows = [(offer, offers.rows(offer, self.senders)) for offer in self.offers]
        rows += ((offer, outside.inside_rows(offer, self.senders)) for offer in self.dialled)
        rows += (
            (offer, outside.rows(offer, self.senders)) for offer in (*self.ways, *self.dialled)
        )
        found = ((offer, tuple(some)) for offer, some in rows)
        yield from ((offer, rows) for offer, rows in found if rows)


@click.command(epilog="Example: steppe reach -f shop/ --to shop/db --port 5432")
@claim_options
@options
@click.option(
    "--from", "senders", multiple=True, metavar="WHO", help="Only from these; repeatable."
)
@click.option("--to", "receivers", multiple=True, metavar="WHO", help="Only to these.")
@click.option(
    "-n", "--namespace", default="", metavar="NAME", help="What short names are relative to."
)
@click.option(
    "--port", "ports", multiple=True, metavar="PORT", help="80, 53/udp or icmp; default: all."
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "html", *EXPORTS]),
    default="table",
    show_default=True,
)
@click.option(
    "--assert",
    "expected",
    metavar="FILE",
    help="A list of {from, to, expect} to hold against it.",
)
@click.option(
    "--explain", is_flag=True, help="Also the cause of every row, with rules that nearly match."
)
@click.option(
    "--exposure",
    is_flag=True,
    help="What pods that are not there yet would reach, and who is unguarded.",
)
def reach(
    *,
    source: Source,
    senders: tuple[str, ...],
    receivers: tuple[str, ...],
    ports: tuple[str, ...],
    namespace: str,
    output: str,
    expected: str | None,
    explain: bool,
    exposure: bool,
) -> None:
    """Tell who reaches whom on which ports, and which objects say so.

    WHO: shop/web (a pod or its workload; * and ? match), deploy/shop/web, namespace/shop,
    node/NAME, an address, a CIDR or internet; --to also svc/shop/db[:PORT] or a Service's DNS
    name or URL.

    Exit code: 0 told, 1 an expectation is not met, 2 bad usage or input, or it is not known whether
    an expectation is met.
    """
    question = Question(senders, receivers, ports_of(ports), namespace)
    if exposure:
        if senders or receivers or expected or namespace or output not in ("table", "json"):
            raise click.UsageError("--exposure goes with --port and -o json alone")
        _expose(load(source), question.ports, output)
        return
    if expected is not None:
        if senders or receivers or ports or output not in ("table", "json"):
            raise click.UsageError("--assert goes without --from, --to, --port, -o wide and html")
        wanted = read_expectations(expected)
        loaded = with_api_service(load(source), (entry.receiver for entry in wanted))
        say_doubts(loaded)
        raise SystemExit(_held_against(expected, wanted, loaded, output))
    loaded = with_api_service(load(source), receivers)
    found = answer(loaded, question)
    say_doubts(loaded)
    if explain and output not in ("table", "json"):
        raise click.UsageError("--explain goes with -o table and json")
    if explain and output == "json":
        every = [flow for known in found.flows() for flow in known]
        said = reach_document(found.reach, found.names, every, found.services())
        said["explained"] = reasons_json(found.reach, every)
        print_json(said | doubts_json(loaded))
        return
    _print(loaded, found, output, source)
    if explain:
        print_reasons(found.reach, found.names, (f for known in found.flows() for f in known))


def _expose(loaded: Loaded, ports: PortSet, output: str) -> None:
    say_doubts(loaded)
    found = told(loaded, ports)
    if output == "json":
        print_json(exposure_document(found, loaded))
    else:
        print_exposure(found)


def ports_of(texts: tuple[str, ...]) -> PortSet:
    """The ports that options name; every port if there are none."""
    found = PortSet()
    for text in texts:
        try:
            found |= parse_ports(text)
        except ValueError as error:
            raise BadInput(f"--port: {error}") from error
    return found if texts else EVERYTHING


def answer(loaded: Loaded, question: Question) -> Answer:
    """Reach, with the ends that were asked for in groups of their own."""
    workloads = workloads_of(loaded.objects)
    prefixes = tuple(asked_prefixes((*question.senders, *question.receivers)))
    whole = reach_of(loaded.cluster, question.ports, prefixes=prefixes, settings=loaded.settings)
    ends = Ends(whole, Names(whole.groups, workloads), question.namespace)
    senders = _chosen(loaded, ends, question.senders, "--from")
    receivers = _chosen(loaded, ends, question.receivers, "--to")
    if any(chosen.is_service for chosen in senders):
        raise BadInput("--from: a Service does not send; name the pods behind it")
    written = [chosen.ports for chosen in receivers if chosen.ports is not None]
    ports = question.ports
    if written and ports == EVERYTHING:
        ports = _together(written)
    return _answer(_Asked(loaded, workloads, ports, prefixes), senders, receivers)


class _Asked(msgspec.Struct, frozen=True):
    """A cluster, and what is asked about it except the ends."""

    loaded: Loaded
    workloads: Mapping[Name, str]
    ports: PortSet
    prefixes: tuple[IPNetwork, ...]


def _answer(asked: _Asked, senders: Sequence[Chosen], receivers: Sequence[Chosen]) -> Answer:
    sending = {member_name(m) for chosen in senders for m in chosen.members}
    receiving = {member_name(m) for chosen in receivers for m in chosen.members}

    def mark(member: Member) -> tuple[bool, bool]:
        name = member_name(member)
        return name in sending, name in receiving

    loaded = asked.loaded
    found = reach_of(loaded.cluster, asked.ports, mark, asked.prefixes, loaded.settings)
    offers = tuple(offer for chosen in receivers for offer in chosen.offers)
    ways = tuple(offer for chosen in receivers for offer in chosen.ways)
    if not receivers:
        inside = Offers(found)
        offers, ways = inside.all, Outside(inside).all
    dialled = tuple(offer for chosen in receivers for offer in chosen.dialled)
    return Answer(
        found,
        Names(found.groups, asked.workloads),
        _groups(found, sending) if senders else found.everyone,
        _groups(found, receiving) if receivers else found.everyone,
        _at_ports(offers, asked.ports),
        _at_ports(ways, asked.ports),
        _at_ports(dialled, asked.ports),
        exactly=bool(senders),
    )


def _at_ports(offers: Iterable[Offer], ports: PortSet) -> tuple[Offer, ...]:
    """The offers at the ports that were asked for: the Service's own, or its node port."""
    return tuple(
        offer
        for offer in offers
        if any(
            number and one_port(offer.port.protocol, number) & ports
            for number in (offer.port.port, offer.port.node_port if offer.kind == "node" else 0)
        )
    )


def _chosen(loaded: Loaded, ends: Ends, texts: tuple[str, ...], option: str) -> tuple[Chosen, ...]:
    try:
        return tuple(ends.chosen(text) for text in texts)
    except SteppeError as error:
        raise unknown_end(loaded, SteppeError(f"{option}: {error}"), *texts) from error


def _groups(found: Reach, names: set[str]) -> Mask:
    """The groups of these members (which contain nobody else)."""
    mask = 0
    for number, group in enumerate(found.groups):
        if member_name(group.members[0]) in names:
            mask |= 1 << number
    return mask


def _together(sets: Sequence[PortSet]) -> PortSet:
    found = PortSet()
    for each in sets:
        found |= each
    return found


def say_doubts(loaded: Loaded) -> None:
    """Print what is wrong with the input, and what is missing in the answer."""
    for problem in loaded.problems:
        click.echo(f"problem: {problem}", err=True)
    for gap in loaded.gaps:
        click.echo(f"not in the answer: {gap}", err=True)


def invented_text(loaded: Loaded) -> str:
    """How much of the cluster is invented, as text."""
    kinds = Counter(ref.kind for ref in loaded.invented if ref.kind != "EndpointSlice")
    counts = [f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in sorted(kinds.items())]
    return f"Taken as a cluster would make them: {', '.join(counts)}." if counts else ""


def _held_against(path: str, wanted: tuple[Expectation, ...], loaded: Loaded, output: str) -> int:
    """Print the failed expectations.

    Returns the exit code: 1 if there are any, 2 if it is not known of some whether they are met.
    """
    prefixes = asked_prefixes(text for entry in wanted for text in (entry.sender, entry.receiver))
    found = reach_of(loaded.cluster, prefixes=prefixes, settings=loaded.settings)
    ends = Ends(found, Names(found.groups, workloads_of(loaded.objects)))
    results = judged(path, found, ends, wanted)
    words = [_met(against) for _, against in results]
    if output == "json":
        print_json({"schema": "steppe.reach.assert/v1", "results": [*map(_result, results)]})
    else:
        for (entry, against), word in zip(results, words, strict=True):
            click.echo(f"{word:7}  {path}:{entry.line}  {entry}")
            for each in against:
                click.echo(f"      {each.sender} → {each.receiver}: {each.found}")
                for line in each.doubts or (because_text(each.because),):
                    click.echo(f"          {line}")
        told = f"{words.count('ok')} of {len(results)} expectations met"
        unknown = words.count("UNKNOWN")
        click.echo(f"{told}, {unknown} not known" if unknown else told)
    return 1 if "FAIL" in words else 2 if "UNKNOWN" in words else 0


def _met(against: Sequence[Failure]) -> str:
    if not against:
        return "ok"
    return "UNKNOWN" if all(each.unknown for each in against) else "FAIL"


def _result(result: tuple[Expectation, tuple[Failure, ...]]) -> dict[str, object]:
    entry, against = result
    return {
        "line": entry.line,
        "from": entry.sender,
        "to": entry.receiver,
        "port": entry.port,
        "expect": entry.expect,
        "met": {"ok": True, "FAIL": False}.get(_met(against)),
        "failures": [
            {
                "from": each.sender,
                "to": each.receiver,
                "found": each.found,
                "because": [str(cause) for cause in each.because],
                "doubts": list(each.doubts),
            }
            for each in against
        ],
    }


def print_json(document: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def _print(loaded: Loaded, found: Answer, output: str, source: Source) -> None:
    flows = list(found.flows())
    if output == "wide":
        print_wide(found.reach, (flow for known in flows for flow in known))
        return
    if output in ("json", "html", *EXPORTS):
        every = (flow for known in flows for flow in known)
        said = reach_document(found.reach, found.names, every, found.services())
        said |= doubts_json(loaded)
        if output == "json":
            print_json(said)
        elif output == "html":
            click.echo(page(said, about(source)))
        else:
            for line in EXPORTS[output](msgspec.to_builtins(said)):
                click.echo(line)
        return
    if flows:
        print_flows(found.reach, found.names, flows)
        for index, line in enumerate(footnotes(found.reach, flows, exactly=found.exactly)):
            click.echo(line if index else f"\n{line}")
    offers = list(found.services())
    if offers:
        click.echo("")
        print_offers(found.names, offers)
    if not flows and not offers:
        pods = found.reach.of_kind("pods")
        none = "no pod among the objects has an address"
        click.echo("these ends share no address family, or none is a pod" if pods else none)
    made_up = invented_text(loaded)
    if made_up:
        click.echo(f"\n{made_up}")
