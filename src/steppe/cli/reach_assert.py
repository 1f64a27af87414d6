"""`steppe reach --assert`: which expectations are met, and what keeps the others from it."""

from collections.abc import Sequence

import click

from steppe.cli.expectations import Expectation, judged
from steppe.cli.output import print_json
from steppe.cli.reach_table import because_text
from steppe.manifests.cluster import Loaded
from steppe.reach.ends import Ends, asked_prefixes
from steppe.reach.expect import Failure
from steppe.reach.names import Names, workloads_of
from steppe.reach.reach import reach_of


def held_against(path: str, wanted: tuple[Expectation, ...], loaded: Loaded, output: str) -> int:
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
