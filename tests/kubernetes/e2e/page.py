"""docs/kubernetes-e2e.md, made of the results of runs."""

import re
from collections.abc import Iterator
from typing import Any

from tests.kubernetes.e2e.groups import GROUPS
from tests.kubernetes.harness.settings import CHECKOUT

PAGE = CHECKOUT / "docs" / "kubernetes-e2e.md"
Json = dict[str, Any]
RESULTS = ("passed", "failed", "skipped", "left out")
REASONS: dict[str, str] = {}
"""By what a failed test's name matches: why it fails."""

_HEAD = """\
# Kubernetes' own e2e tests of networks

Made by `python -m tests.kubernetes e2e` ([kubernetes.md](kubernetes.md)) of the last result of each
test. Do not edit.

On three nodes with kubelets, Steppe installed by deploy/steppe.yaml, dual stack: {about}.
*Skipped*: the test itself finds that the cluster is not of its kind. *Left out*: not run, for the
reason given.

"""


def made(kept: Json) -> str:
    """The page as text."""
    about = ", ".join(f"{name} {value}" for name, value in kept["about"].items())
    return _HEAD.format(about=about) + "\n".join(_body(kept["tests"])) + "\n"


def reason(name: str) -> str:
    """Why a failed test fails; "" if nobody has found out."""
    return next((why for match, why in REASONS.items() if re.search(match, name)), "")


def _body(tests: dict[str, Json]) -> Iterator[str]:
    yield f"| group | {' | '.join(RESULTS)} |"
    yield f"| --- |{' ---: |' * len(RESULTS)}"
    for group in (*GROUPS, ""):
        rows = [row for row in tests.values() if group in ("", row["group"])]
        counts = [sum(row["result"] == each for row in rows) for each in RESULTS]
        if rows:
            yield f"| {group or '**all**'} | {' | '.join(map(str, counts))} |"
    if failed := [name for name, row in tests.items() if row["result"] == "failed"]:
        yield "\n## Failed\n"
        yield "| test | why | what it says |\n| --- | --- | --- |"
        for name in failed:
            said = _cell(tests[name]["said"])
            yield f"| {_cell(name)} | {reason(name) or 'not known yet'} | {said} |"
    for result, title in (("skipped", "Skipped by themselves"), ("left out", "Left out")):
        rows = {name: row for name, row in tests.items() if row["result"] == result}
        if rows:
            yield f"\n## {title}\n\n| test | why |\n| --- | --- |"
            yield from (f"| {_cell(name)} | {_cell(row['said'])} |" for name, row in rows.items())
    yield "\n## Passed\n\n| test | seconds |\n| --- | ---: |"
    for name, row in tests.items():
        if row["result"] == "passed":
            yield f"| {_cell(name)} | {row['seconds']} |"


def _cell(text: str) -> str:
    """Text that ends no cell of a table, and is no markup."""
    short = text.removeprefix("[sig-network] ")
    return re.sub(r"([|<>*_\[\]`])", r"\\\1", short)
