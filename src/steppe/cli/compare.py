"""`steppe compare`: whether two sets of policies allow the same; what of a set is redundant, or
conflicts.
"""

import click
import msgspec

from steppe.cli.compare_text import document, lines
from steppe.cli.output import print_json, say_doubts
from steppe.cli.settings import judged
from steppe.cli.source import BadInput, Progress, Source, claim_options, options, read
from steppe.client.files import manifests_in
from steppe.compare.answers import Answers
from steppe.compare.conflicts import Conflict, conflicts
from steppe.compare.redundant import Redundancy, redundancies
from steppe.compare.relation import related, related_later
from steppe.compare.worlds import Worlds, worlds
from steppe.errors import SteppeError
from steppe.manifests.collect import Collected, collected
from steppe.reach.groups import own_network
from steppe.settings import Settings

QUESTIONS = ("same", "contained", "redundant", "conflicting")
_PAIR = frozenset(("same", "contained"))
_EPILOG = """Examples:

\b
  steppe compare policies/ policies-new/ -f manifests/
  steppe compare policies/ policies-new/ --ask contained
  steppe compare policies/ --ask redundant -o json
"""


@click.command(epilog=_EPILOG)
@click.argument("first", metavar="SET")
@click.argument("second", metavar="[OTHER]", default="")
@click.option(
    "--ask",
    multiple=True,
    type=click.Choice(QUESTIONS),
    help="Of two sets same or contained, of one redundant or conflicting; repeatable. Default: "
    "same, and of one set both.",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@claim_options
@options
def compare(*, source: Source, first: str, second: str, ask: tuple[str, ...], output: str) -> None:
    """Compare two sets of policies (files or folders), or the policies of one set with each other.

    For the pods and nodes of the cluster that -f, --kubeconfig or --lab gives, whose own policies
    are left aside; without one, for those among the sets.

    same: both allow the same flows. contained: SET allows no more than OTHER. redundant: policies
    and rules without which every flow is as it was, also of new pods that the set's selectors
    take. conflicting: one policy allows what another denies. Every "no" comes with a flow that
    proves it.

    Exit code: 0 yes (nothing redundant, nothing conflicting); 1 no; 2 bad usage or input, or not
    known: a policy cannot be read, or there may be pods that are not known.
    """
    asked = _asked(ask, two=bool(second))
    names = tuple(filter(None, (first, second)))
    sets = tuple(map(_collected, names))
    found = worlds(sets, _base(source))
    for loaded in found.loaded:
        say_doubts(msgspec.structs.replace(loaded, gaps=()))
    for gap in dict.fromkeys(gap for loaded in found.loaded for gap in loaded.gaps):
        click.echo(f"not in the answer: {gap}", err=True)
    for text in found.aside:
        click.echo(f"left aside: {text}", err=True)
    if not any(own_network(found.clusters[0].pods.values())):
        raise BadInput("no pod to ask about: give the workloads with -f FILE or --kubeconfig FILE")
    claims = source if _has_cluster(source) else msgspec.structs.replace(source, filenames=names)
    answers = _answers(found, names, asked, judged(found.loaded[0], claims).settings)
    if output == "json":
        print_json(document(answers, found))
    else:
        for line in lines(answers):
            click.echo(line)
    raise SystemExit(answers.exit_code)


def _asked(ask: tuple[str, ...], *, two: bool) -> frozenset[str]:
    asked = frozenset(ask) or (frozenset(("same",)) if two else frozenset(QUESTIONS) - _PAIR)
    if two and asked - _PAIR:
        raise click.UsageError("--ask redundant and conflicting are questions about one set")
    if not two and asked & _PAIR:
        raise click.UsageError("--ask same and contained need two sets")
    return asked


def _collected(name: str) -> Collected:
    try:
        return collected(manifests_in((name,)))
    except SteppeError as error:
        raise BadInput(str(error)) from error


def _has_cluster(source: Source) -> bool:
    return bool(source.filenames or source.kubeconfig or source.context or source.lab)


def _base(source: Source) -> Collected | None:
    if not _has_cluster(source):
        return None
    known = read(source)
    found = collected(known.manifests)
    return msgspec.structs.replace(found, gaps=(*known.gaps, *found.gaps))


def _answers(
    found: Worlds, names: tuple[str, ...], asked: frozenset[str], settings: Settings
) -> Answers:
    clusters = found.clusters
    progress = Progress("comparing")
    relation, later = None, None
    if len(clusters) > 1:
        both = (clusters[0], clusters[1])
        relation = related(both, settings, progress)
        later = related_later(both, settings, progress)
    redundant: list[Redundancy] = []
    conflicting: tuple[Conflict, ...] = ()
    for each in redundancies(clusters[0], settings) if "redundant" in asked else ():
        progress(str(each.cause))
        redundant.append(each)
    if "conflicting" in asked:
        conflicting = tuple(conflicts(clusters[0], settings, progress))
    return Answers(names, asked, found.unsure, relation, later, tuple(redundant), conflicting)
