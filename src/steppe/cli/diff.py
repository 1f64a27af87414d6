"""`steppe diff`: what a change of manifests does to traffic and tables, before it is applied."""

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from steppe.cli.diff_document import Found, diff_document
from steppe.cli.diff_found import Asked, found_by
from steppe.cli.diff_states import Kind, states
from steppe.cli.diff_text import (
    print_flow_changes,
    print_offer_changes,
    print_tables,
    print_unknown_flows,
    summary,
)
from steppe.cli.output import print_json, say_doubts
from steppe.cli.reach_answer import ports_of
from steppe.cli.settings import judged
from steppe.cli.source import BadInput, Source, claim_options, live_options, read
from steppe.client.files import SUFFIXES, manifests_in
from steppe.client.revisions import at_revision
from steppe.errors import SteppeError
from steppe.fabric.registry import FABRICS
from steppe.manifests.collect import Collected, collected
from steppe.reach.diff_export import EXPORTS
from steppe.reach.tables import MANY_PAIRS, pairs
from steppe.settings import Settings


@click.command(epilog="Example: steppe diff -f new-policy.yaml --base manifests/ --fail-on deny")
@click.option(
    "-f",
    "--change",
    "changes",
    multiple=True,
    metavar="FILE|DIR|-",
    help="What would be applied.",
)
@click.option("--delete", is_flag=True, help="The objects of -f would be deleted instead.")
@click.option("--fabric", type=click.Choice(tuple(FABRICS)), help="Change the fabric to it.")
@click.option(
    "--base",
    "filenames",
    multiple=True,
    metavar="FILE|DIR|REV",
    help="What is there now; REV: -f as a git revision has it, and --whole.",
)
@click.option(
    "--whole", is_flag=True, help="-f is all that would be there: what it lacks is deleted."
)
@claim_options
@live_options
@click.option(
    "--fail-on",
    type=click.Choice(["allow", "deny", "any"]),
    default="any",
    show_default=True,
    help="What exit code 1 stands for.",
)
@click.option(
    "--focus",
    multiple=True,
    metavar="WHO",
    help="Only flows from and to these: a workload, for one; repeatable.",
)
@click.option(
    "--port", "ports", multiple=True, metavar="PORT", help="80, 53/udp or icmp; default: all."
)
@click.option("--tables", is_flag=True, help="Table entries too, however large the cluster is.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "wide", "json", *EXPORTS]), default="table"
)
def diff(*, source: Source, **given: Any) -> None:
    """Tell what a change does before it is applied: flows newly allowed and newly denied, Services
    that answer otherwise, and the table entries that change on each node.

    The cluster as it is now comes from --base FILE, --kubeconfig FILE or --lab NAME. With
    `--base main -f manifests/` it is the same folder as the git branch main has it.

    Exit code: 0 nothing changes (that --fail-on names), 1 something does, 2 bad usage or input,
    such as objects that an API server refuses, or it is not known whether something does.
    """
    changes, fabric = given["changes"], given["fabric"]
    if not changes and fabric is None:
        raise click.UsageError("what would change? -f FILE applies manifests, --fabric the fabric")
    if given["delete"] and given["whole"]:
        raise click.UsageError("--delete takes objects away, --whole leaves no others: give one")
    base, whole = _base(source, changes)
    change = _collected(changes)
    kind: Kind = "delete" if given["delete"] else "whole" if whole or given["whole"] else "apply"
    known = states(base, change, kind)
    old, new = known.old, known.new
    settings = judged(old, source).settings
    focus, ports = given["focus"], given["ports"]
    some = focus or ports or pairs(new.cluster) > MANY_PAIRS
    asked = Asked(focus, ports_of(ports), given["tables"] or not some)
    found = found_by(old, new, (settings, _replaced(settings, fabric)), asked)
    say_doubts(msgspec.structs.replace(old, problems=known.problems))
    for ref in known.missing:
        click.echo(f"not there, so deleting it changes nothing: {ref}", err=True)
    if given["output"] == "json":
        print_json(diff_document(found))
    elif given["output"] in EXPORTS:
        for line in EXPORTS[given["output"]](msgspec.to_builtins(diff_document(found))):
            click.echo(line)
    else:
        _print(found, wide=given["output"] == "wide")
    if known.refused:
        click.echo("not all of the change is taken, so what it does is not known", err=True)
        sys.exit(BadInput.exit_code)
    sys.exit(_exit_code(found, given["fail_on"]))


def _exit_code(found: Found, fail_on: str) -> int:
    """1 for what changes, 2 where it is not known whether it does."""
    sure, perhaps = {
        "allow": (found.opens, found.may_open),
        "deny": (found.closes, found.may_close),
        "any": (found.anything, found.may_open or found.may_close),
    }[fail_on]
    return 1 if sure else BadInput.exit_code if perhaps else 0


def _base(source: Source, changes: tuple[str, ...]) -> tuple[Collected, bool]:
    """What is there now, and whether it is an earlier revision of what would be there."""
    if len(source.filenames) == 1 and _is_revision(source.filenames[0]):
        return _earlier(source.filenames[0], changes), True
    known = read(source)
    found = collected(known.manifests)
    return msgspec.structs.replace(found, gaps=(*known.gaps, *found.gaps)), False


def _is_revision(text: str) -> bool:
    """Whether it is to be a git revision: no file is there, and it does not look like one."""
    path = Path(text)
    is_file = text == "-" or path.is_absolute() or path.suffix in SUFFIXES or path.exists()
    return not is_file


def _earlier(revision: str, changes: tuple[str, ...]) -> Collected:
    if not changes or "-" in changes:
        raise BadInput(f"--base {revision}: give the files to compare with -f FILE")
    try:
        with at_revision(revision, changes) as names:
            return _collected(names)
    except SteppeError as error:
        raise BadInput(f"--base {revision}: {error}") from error


def _collected(names: tuple[str, ...]) -> Collected:
    try:
        return collected(manifests_in(names))
    except SteppeError as error:
        raise BadInput(str(error)) from error


def _replaced(settings: Settings, fabric: str | None) -> Settings:
    return settings if fabric is None else msgspec.structs.replace(settings, fabric=fabric)


def _print(found: Found, *, wide: bool) -> None:
    click.echo(summary(found.flows, found.offers))
    for opened in (False, True):
        print_flow_changes(found.difference, found.names, found.flows, opened=opened)
    print_unknown_flows(found.difference, found.names, found.flows)
    print_offer_changes(found.difference, found.names, found.offers)
    if found.tables is None:
        why = "of a large cluster and with --focus or --port they are left out"
        click.echo(f"\nTABLES\n{why}; --tables adds them")
    else:
        print_tables(found.tables, wide=wide)
