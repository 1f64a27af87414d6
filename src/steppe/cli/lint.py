"""`steppe lint`: what in a cluster's policies and Services is probably not intended."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import msgspec

from steppe.cli.settings import judged
from steppe.cli.source import BadInput, Source, claim_options, options, read
from steppe.lint.finding import Finding, Severity
from steppe.lint.lint import UnknownCheckError
from steppe.lint.lint import lint as found_in
from steppe.lint.registry import CHECKS
from steppe.lint.sarif import places, sarif
from steppe.manifests.cluster import loaded_from
from steppe.manifests.documents import Manifest

_COLOURS: dict[Severity, str] = {"error": "red", "warning": "yellow", "note": "cyan"}
_EPILOG = """Examples:

\b
  steppe lint -f manifests/
  steppe lint -f manifests/ --ignore port-not-declared --ignore host-port
  steppe lint -f manifests/ -o sarif > lint.sarif
  steppe lint --checks
"""


def _print_checks(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        width = max(len(check.id) for check in CHECKS)
        for check in CHECKS:
            click.echo(f"{check.id:<{width}}  {check.severity:<7}  {check.trap}")
        context.exit()


@click.command(epilog=_EPILOG)
@click.option("-o", "--output", type=click.Choice(["text", "json", "sarif"]), default="text")
@click.option("--ignore", multiple=True, metavar="RULE", help="An id to leave out; repeatable.")
@click.option(
    "--checks",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_checks,
    help="List every rule's id, severity and trap.",
)
@claim_options
@options
def lint(source: Source, output: str, ignore: tuple[str, ...]) -> None:
    """Find policies, rules and Services that have no effect, or hardly the one that was meant.

    Of manifests (-f), of a live cluster (--kubeconfig), or of a lab. Each finding names the object
    and the field, and a change that was tried before it is proposed. [RULE] is explained in
    docs/lint.md.

    Exit code: 0 nothing found, or notes only; 1 errors or warnings; 2 bad usage or input.
    """
    manifests = read(source)
    loaded = judged(loaded_from(manifests.manifests, manifests.gaps), source)
    try:
        findings = found_in(loaded, ignore)
    except UnknownCheckError as error:
        raise BadInput(str(error)) from error
    if output == "json":
        click.echo(_formatted(_document(findings, loaded.gaps)))
    elif output == "sarif":
        files = (each for each in manifests.manifests if _is_of_file(each))
        click.echo(_formatted(sarif(findings, version("steppe"), places(files))))
    else:
        _print(findings, loaded.gaps)
    if any(finding.severity != "note" for finding in findings):
        raise SystemExit(1)


def _is_of_file(manifest: Manifest) -> bool:
    """Whether it was read from a file, and not from standard input or from what kubectl built."""
    return Path(manifest.where.rpartition(":")[0]).is_file()


def _print(findings: Sequence[Finding], gaps: Sequence[str]) -> None:
    for finding in findings:
        severity = click.style(finding.severity, fg=_COLOURS[finding.severity])
        click.echo(f"{severity}: {finding}")
    click.echo(_counted(findings) if findings else "nothing found")
    for gap in gaps:
        click.echo(f"not known: {gap}", err=True)


def _counted(findings: Sequence[Finding]) -> str:
    """`1 error, 2 warnings`."""
    counts = {name: sum(each.severity == name for each in findings) for name in _COLOURS}
    found = (f"{n} {name}{'' if n == 1 else 's'}" for name, n in counts.items() if n)
    return ", ".join(found)


def _document(findings: Sequence[Finding], gaps: Sequence[str]) -> dict[str, Any]:
    return {
        "schema": "steppe.lint/v1",
        "findings": [
            {
                "check": finding.check,
                "severity": finding.severity,
                "object": finding.cause.ref,
                "field": finding.cause.field,
                "message": finding.message,
            }
            for finding in findings
        ],
        "gaps": gaps,
    }


def _formatted(document: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(document)).decode()
