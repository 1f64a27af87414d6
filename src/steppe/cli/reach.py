"""`steppe reach`: who reaches whom, all pairs at once."""

from collections import Counter
from typing import Any

import click
import msgspec

from steppe.cli.expectations import read_expectations
from steppe.cli.exposure import exposure_document, print_exposure, told
from steppe.cli.output import print_json, say_doubts
from steppe.cli.reach_answer import Answer, Question, answer, focused, ports_of
from steppe.cli.reach_assert import held_against
from steppe.cli.reach_page import about, page
from steppe.cli.reach_reasons import print_reasons, reasons_json
from steppe.cli.reach_table import footnotes, print_flows, print_offers, print_wide
from steppe.cli.source import Source, claim_options, load, options
from steppe.manifests.api_service import with_api_service
from steppe.manifests.cluster import Loaded
from steppe.reach.document import doubts_json, reach_document
from steppe.reach.export import EXPORTS


@click.command(epilog="Example: steppe reach -f shop/ --to shop/db --port 5432")
@claim_options
@options
@click.option(
    "--from", "senders", multiple=True, metavar="WHO", help="Only from these; repeatable."
)
@click.option("--to", "receivers", multiple=True, metavar="WHO", help="Only to these.")
@click.option(
    "--focus",
    multiple=True,
    metavar="WHO",
    help="Only flows from and to these: a workload, for one; repeatable.",
)
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
def reach(*, source: Source, output: str, explain: bool, exposure: bool, **given: Any) -> None:
    """Tell who reaches whom on which ports, and which objects say so.

    WHO: shop/web (a pod or its workload; * and ? match), deploy/shop/web, namespace/shop,
    node/NAME, an address, a CIDR or internet; --to also svc/shop/db[:PORT] or a Service's DNS
    name or URL. --focus WHO is both: what they reach, and who reaches them and their Services.

    Exit code: 0 told, 1 an expectation is not met, 2 bad usage or input, or it is not known whether
    an expectation is met.
    """
    senders, receivers, focus = given["senders"], given["receivers"], given["focus"]
    expected: str | None = given["expected"]
    question = Question(senders, receivers, ports_of(given["ports"]), given["namespace"], focus)
    if focus and (senders or receivers or expected):
        raise click.UsageError("--focus is both directions: give it without --from, --to, --assert")
    if output not in ("table", "json") and (explain or exposure or expected):
        raise click.UsageError("--explain, --exposure and --assert go with -o table and json alone")
    if exposure:
        if senders or receivers or expected:
            raise click.UsageError("--exposure goes with --focus and --port alone")
        _expose(load(source), question, output)
        return
    if expected is not None:
        if senders or receivers or given["ports"]:
            raise click.UsageError("--assert goes without --from, --to and --port")
        wanted = read_expectations(expected)
        loaded = with_api_service(load(source), (entry.receiver for entry in wanted))
        say_doubts(loaded)
        raise SystemExit(held_against(expected, wanted, loaded, output))
    loaded = with_api_service(load(source), receivers)
    found = answer(loaded, question)
    say_doubts(loaded)
    if explain and output == "json":
        every = [flow for known in found.flows() for flow in known]
        said = reach_document(found.reach, found.names, every, found.services())
        said["explained"] = reasons_json(found.reach, every)
        print_json(said | doubts_json(loaded))
        return
    _print(loaded, found, output, source)
    if explain:
        print_reasons(found.reach, found.names, (f for known in found.flows() for f in known))


def _expose(loaded: Loaded, question: Question, output: str) -> None:
    say_doubts(loaded)
    found = told(loaded, question.ports, focused(loaded, question) if question.focus else ())
    if output == "json":
        print_json(exposure_document(found, loaded))
    else:
        print_exposure(found)


def invented_text(loaded: Loaded) -> str:
    """How much of the cluster is invented, as text."""
    kinds = Counter(ref.kind for ref in loaded.invented if ref.kind != "EndpointSlice")
    counts = [f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in sorted(kinds.items())]
    return f"Taken as a cluster would make them: {', '.join(counts)}." if counts else ""


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
