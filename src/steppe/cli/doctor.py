"""`steppe doctor`: whether this machine has what Steppe needs, one line for each requirement."""

import sys
import textwrap

import click
import msgspec

from steppe.drivers.requirements.catalogue import ALL
from steppe.drivers.requirements.model import Finding, examine

_STATE_WIDTH = len("missing")
_NAME_WIDTH = max(len(need.name) for need in ALL)


class Report(msgspec.Struct, frozen=True, tag_field="schema", tag="steppe.doctor/v1"):
    """What `-o json` prints."""

    ok: bool
    requirements: tuple[Finding, ...]


def line(finding: Finding) -> str:
    """One finding: state, level, name, what was seen, what it is for, how to get it."""
    found = f" ({finding.found})" if finding.found else ""
    cure = f"; to get it: {finding.cure}" if finding.cure else ""
    return (
        f"{finding.state:{_STATE_WIDTH}}  {finding.level:8}  {finding.name:{_NAME_WIDTH}}  "
        f"{finding.purpose}{found}{cure}"
    )


def summary(findings: tuple[Finding, ...]) -> str:
    """The last line: whether Steppe can work here."""
    blocking = [finding.name for finding in findings if finding.blocks]
    if not blocking:
        return "This machine has everything that Steppe requires."
    return textwrap.fill(f"Steppe cannot work here until this is there: {', '.join(blocking)}")


@click.command(epilog="Example:  steppe doctor    or, for scripts:  steppe doctor -o json | jq .ok")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Lines to read, or one JSON document.",
)
def doctor(output: str) -> None:
    """Tell what this machine has of what Steppe needs.

    Kernel features are really tried, in network namespaces that last for one attempt each; nothing
    in the machine's own namespace is changed, and no kernel module is loaded for an optional
    feature. Run it as root: others cannot try.

    Exit code: 0 where everything required is there, 1 where something is not.
    """
    findings: list[Finding] = []
    for finding in examine(ALL):
        findings.append(finding)
        if output == "text":
            # Printed one by one, to show progress on a slow machine.
            click.echo(line(finding))
    report = Report(not any(finding.blocks for finding in findings), tuple(findings))
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
    else:
        click.echo(f"\n{summary(report.requirements)}")
    sys.exit(0 if report.ok else 1)
