"""What a pass over the kernel changed, told in the log and counted in the metrics.

    add table=routes key="10.244.1.0/24 dev …" value=… cause="Node/node-b spec.podCIDRs[0]"
    add table=elements count=10901 because="NetworkPolicy/shop/open (401), Pod/a/p1 (2), 4999 more"

A change is a line, unless there are many of them: then what was made of them is summed up, and
their lines are for level debug. What failed is told one by one, and once: a change that the kernel
refuses is tried again every second, and only another answer is news.
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
"""A policy for thousands of peers would fill the log with what nobody reads, and writing it takes
longer than compiling it: 17 µs a line."""
NAMED_CHANGES = 50_000
"""Of more changes, which are those of a start, not even the objects are counted, and `because` need
name those of failures alone."""
_UNCOUNTED = "more objects than are counted here"
_NAMED = 3
"""How many of the objects behind a summary are named."""

Because = Mapping[Key, tuple[Cause, ...]]


def tell(
    changes: Collection[Change],
    because: Because,
    failed: Mapping[Key, Failure],
    metrics: Metrics,
    before: Mapping[Key, Failure],
) -> None:
    """What became of these changes, with the objects that asked for them.

    `before`: what had failed until now, so that the same answer is not told again.
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
