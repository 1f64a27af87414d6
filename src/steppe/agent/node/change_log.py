"""Logs the changes of a pass over the kernel, and counts them in the metrics.

    add table=routes key="10.244.1.0/24 dev …" value=… cause="Node/node-b spec.podCIDRs[0]"
    add table=elements count=10901 because="NetworkPolicy/shop/open (401), Pod/a/p1 (2), 4999 more"

Each change is one line. If a pass has many changes, they are summed up, and their lines have level
debug. Each failure is one line, logged once: a change that the kernel refuses is tried again every
second, and only a different error is logged again.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from steppe.agent.health.metrics import Metrics
from steppe.agent.log import line
from steppe.drivers.errors import Failure
from steppe.kube.cause import Cause, ObjectRef
from steppe.plan.diff import Change
from steppe.state.node import Key

log = logging.getLogger("steppe.agent")

MANY = 200
"""With more changes than this, they are summed up: a policy may change thousands of entries, and
17 µs for each line is more than compiling it takes."""
NAMED_CHANGES = 50_000
"""With more changes than this (when an agent starts), the objects are not counted either, and
`because` needs only the causes of failures."""
_UNCOUNTED = "more objects than are counted here"
_NAMED = 3
"""How many objects a summary names."""

Because = Mapping[Key, tuple[Cause, ...]]


def tell(
    changes: Collection[Change],
    because: Because,
    failed: Mapping[Key, Failure],
    metrics: Metrics,
    before: Mapping[Key, Failure],
) -> None:
    """Log and count the results of these changes, with the objects that caused them.

    `before`: the failures so far, so that the same error is not logged again.
    """
    level = logging.INFO if len(changes) <= MANY else logging.DEBUG
    each = log.isEnabledFor(level)
    made: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        failure = failed.get(change.key) if failed else None
        if failure is None:
            made.setdefault((_verb(change), change.key.table), []).append(change)
        if failure is not None:
            known = before.get(change.key)
            news = known is None or str(known.error) != str(failure.error)
            log.log(
                logging.ERROR if news else logging.DEBUG,
                _line(change, because, "-failed", error=failure.error),
            )
        elif each:
            log.log(level, _line(change, because))
    for (verb, table), some in made.items():
        metrics.changes.labels(table, verb).inc(len(some))
        if level == logging.DEBUG:
            objects = _objects(some, because) if len(changes) <= NAMED_CHANGES else _UNCOUNTED
            log.info(line(verb, table=table, count=len(some), because=objects))


def _line(change: Change, because: Because, suffix: str = "", **more: object) -> str:
    return line(
        _verb(change) + suffix,
        table=change.key.table,
        key=change.key,
        value=change.old if change.new is None else change.new,
        cause=_or_nothing(map(str, because[change.key])),
        **more,
    )


def _objects(changes: Collection[Change], because: Because) -> str:
    return _most(_counted(cause.ref for change in changes for cause in because[change.key]))


def _counted(refs: Iterable[ObjectRef]) -> Counter[ObjectRef]:
    """How often each object is named. By identity first: an object's changes share its name."""
    named = list(refs)
    known = {id(ref): ref for ref in named}
    found: Counter[ObjectRef] = Counter()
    for number, count in Counter(map(id, named)).items():
        found[known[number]] += count
    return found


def _most(objects: Counter[ObjectRef]) -> str:
    named = [f"{ref} ({count})" for ref, count in objects.most_common(_NAMED)]
    rest = len(objects) - len(named)
    return _or_nothing([*named, f"{rest} more"] if rest else named)


def _or_nothing(causes: Iterable[str]) -> str:
    return ", ".join(causes) or "nothing asks for it"


def _verb(change: Change) -> str:
    return "delete" if change.new is None else "replace" if change.old else "add"
