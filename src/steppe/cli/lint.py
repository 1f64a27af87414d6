"""`steppe lint`: what in a cluster's policies and Services is probably not intended."""

from typing import Any

import click
import msgspec

from steppe.cli.source import Source, load, options
from steppe.lint.finding import Finding
from steppe.lint.lint import lint as found_in


@click.command(epilog="Example: steppe lint -f manifests/    or, for scripts: -o json")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@options
def lint(source: Source, output: str) -> None:
    """Find policies, rules and Services that have no effect, or hardly the one that was meant.

    Of manifests (-f), of a live cluster (--kubeconfig), or of a lab. Each finding names the object
    and the field, and says what would cure it.

    Exit code: 0 nothing found, 1 something, 2 bad usage or input.
    """
    loaded = load(source)
    findings = found_in(loaded)
    if output == "json":
        click.echo(_json(findings, loaded.gaps))
    else:
        _print(findings, loaded.gaps)
    if findings:
        raise SystemExit(1)


def _print(findings: tuple[Finding, ...], gaps: tuple[str, ...]) -> None:
    for finding in findings:
        click.echo(finding)
    click.echo(f"{len(findings)} found" if findings else "nothing found")
    for gap in gaps:
        click.echo(f"not known: {gap}", err=True)


def _json(findings: tuple[Finding, ...], gaps: tuple[str, ...]) -> str:
    document: dict[str, Any] = {
        "schema": "steppe.lint/v1",
        "findings": [
            {
                "check": finding.check,
                "object": finding.cause.ref,
                "field": finding.cause.field,
                "message": finding.message,
            }
            for finding in findings
        ],
        "gaps": gaps,
    }
    return msgspec.json.format(msgspec.json.encode(document)).decode()
