"""Runs the checks of a cluster."""

from collections.abc import Collection

import msgspec

from steppe.errors import SteppeError
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding
from steppe.lint.registry import BY_ID, CHECKS
from steppe.manifests.cluster import Loaded


class UnknownCheckError(SteppeError):
    """There is no check of this id; the message says which there are."""


def lint(loaded: Loaded, ignore: Collection[str] = ()) -> tuple[Finding, ...]:
    """All findings in this cluster, sorted by object, but for those of checks in `ignore`."""
    strangers = sorted(set(ignore) - BY_ID.keys())
    if strangers:
        raise UnknownCheckError(
            f"there is no check {', '.join(strangers)}; there are {', '.join(sorted(BY_ID))}"
        )
    facts = Facts(loaded)
    wanted = [check for check in CHECKS if check.id not in ignore]
    found = {each for find in dict.fromkeys(check.find for check in wanted) for each in find(facts)}
    void = [each.cause for each in found if each.check == "exception-void"]
    return tuple(
        sorted(
            msgspec.structs.replace(each, severity=BY_ID[each.check].severity)
            for each in found
            if each.check not in ignore
            # The rule that takes too much is the mistake then, not the one that it covers.
            and not (each.check == "already-covered" and any(_within(each, c) for c in void))
        )
    )


def _within(covered: Finding, cause: object) -> bool:
    return str(cause).startswith(str(covered.cause))
