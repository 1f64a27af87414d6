"""What is known of a kind of object after any sequence of events: one table."""

from typing import Any

import msgspec
import pytest

from steppe.client.informer import Deleted, Refused, Replaced, Unreadable, Upserted
from steppe.client.mirror import Kind, Mirror, Name
from steppe.client.resources import Resource
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.wire import ObjectMeta

THINGS = Resource("example.org", "v1", "things", "Thing")


class Thing(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    size: int = 0


def parse(seen: Thing) -> tuple[int, tuple[Problem, ...]]:
    """The size, of which only what is positive can be used."""
    if seen.size >= 0:
        return seen.size, ()
    cause = Cause(ObjectRef("Thing", seen.metadata.namespace, seen.metadata.name), "size")
    return 0, (Problem(cause, "below zero"),)


def thing(name: str, size: int = 1) -> Thing:
    return Thing(ObjectMeta(name, "ns"), size)


PLAIN = Kind(resource=THINGS, wire=Thing, parse=parse, until_listed="until then nothing is done")
GUARD = Kind(
    resource=THINGS, wire=Thing, parse=parse, stand_in=lambda _: 99, instead="all are closed"
)
OPTIONAL = Kind(resource=THINGS, wire=Thing, parse=parse, may_be_absent=True)

A1, A2, B1 = thing("a"), thing("a", 2), thing("b")
LIST, ODD = Replaced((A1, B1)), Unreadable("ns", "a", "size: expected int")
ODD_GONE = Unreadable("ns", "a", "size: expected int", deleted=True)
LIST_WITH_ODD = Replaced((B1,), (ODD,))
NAMELESS = Unreadable("", "", "metadata: expected object")
A_IS_ODD, FORBIDDEN, UNKNOWN = "not readable as a Thing", "have its ClusterRole", "knows no things"

# The events, what is known then, a part of each Problem, whether there was a complete view.
Row = tuple[list[Any], dict[str, int], list[str], bool]
BOTH = {"a": 1, "b": 1}
ALL_KINDS: list[Row] = [
    ([], {}, [], False),
    ([LIST], BOTH, [], True),
    ([LIST, Upserted(A2)], {"a": 2, "b": 1}, [], True),
    ([Upserted(A2)], {"a": 2}, [], False),
    ([LIST, Deleted(A2)], {"b": 1}, [], True),
    ([LIST, Replaced((B1,))], {"b": 1}, [], True),
    ([LIST, Replaced(())], {}, [], True),
    ([LIST, Upserted(thing("a", -1))], {"a": 0, "b": 1}, ["below zero"], True),
    ([LIST, Upserted(thing("a", -1)), Upserted(A1)], BOTH, [], True),
    ([LIST, Upserted(thing("a", -1)), Deleted(A1)], {"b": 1}, [], True),
    ([LIST, Upserted(thing("a", -1)), Replaced((B1,))], {"b": 1}, [], True),
    # Unreadable, and what comes after.
    ([LIST, ODD, Upserted(A2)], {"a": 2, "b": 1}, [], True),
    ([LIST, ODD, ODD_GONE], {"b": 1}, [], True),
    ([LIST, ODD, Deleted(A1)], {"b": 1}, [], True),
    ([LIST, ODD, Replaced((B1,))], {"b": 1}, [], True),
    ([LIST, ODD, LIST], BOTH, [], True),
    ([LIST, LIST_WITH_ODD, ODD_GONE], {"b": 1}, [], True),
    ([LIST_WITH_ODD, LIST], BOTH, [], True),
    # Not even the name of one can be read: it may be any that is missing.
    ([LIST, Replaced((), (NAMELESS,))], BOTH, ["not readable as a Thing"], True),
    # Refused.
    ([Refused(403)], {}, [FORBIDDEN], False),
    ([Refused(403), LIST], BOTH, [], True),
    ([LIST, Refused(403)], BOTH, [FORBIDDEN], True),
    ([LIST, Refused(404)], BOTH, [UNKNOWN], True),
    ([LIST, Refused(403), Refused(404)], BOTH, [UNKNOWN], True),
    ([LIST, Refused(403), Replaced(())], {}, [], True),
    ([LIST, ODD, Refused(403), ODD_GONE], {"b": 1}, [FORBIDDEN], True),
]
WITHOUT_STAND_IN: list[Row] = [
    ([ODD], {}, [A_IS_ODD], False),
    ([LIST, ODD], BOTH, [A_IS_ODD], True),
    ([LIST_WITH_ODD], {"b": 1}, [A_IS_ODD], True),
    ([LIST, LIST_WITH_ODD], BOTH, [A_IS_ODD], True),
    ([LIST, LIST_WITH_ODD, Refused(403)], BOTH, [FORBIDDEN, A_IS_ODD], True),
]
WITH_STAND_IN: list[Row] = [
    ([LIST, ODD], {"a": 99, "b": 1}, ["all are closed"], True),
    ([LIST_WITH_ODD], {"a": 99, "b": 1}, ["all are closed"], True),
    ([LIST, LIST_WITH_ODD], {"a": 99, "b": 1}, ["all are closed"], True),
]
NEEDED: list[Row] = [
    ([Refused(404)], {}, [UNKNOWN], False),
]
MAY_BE_ABSENT: list[Row] = [
    ([Refused(404)], {}, [], True),
    ([Refused(403), Refused(404)], {}, [], True),
    ([LIST, Deleted(A1), Deleted(B1), Refused(404)], {}, [], True),
]
TABLE = [
    *((kind, row) for kind in (PLAIN, GUARD, OPTIONAL) for row in ALL_KINDS),
    *((kind, row) for kind in (PLAIN, OPTIONAL) for row in WITHOUT_STAND_IN),
    *((GUARD, row) for row in WITH_STAND_IN),
    *((kind, row) for kind in (PLAIN, GUARD) for row in NEEDED),
    *((OPTIONAL, row) for row in MAY_BE_ABSENT),
]


@pytest.mark.parametrize(("kind", "row"), TABLE)
def test_what_is_known_after_these_events(kind: Kind[Thing, int], row: Row) -> None:
    events, known, problems, listed = row
    mirror = Mirror(kind)
    followed: dict[Name, int | None] = {}
    for event in events:
        followed |= mirror.take(event)
    seen = {name: size for (_, name), size in mirror.known.items() if name}
    assert seen == known
    # Who only follows the changes comes to know the same.
    assert {n: s for n, s in followed.items() if s is not None} == mirror.known
    told = sorted(problem.message for problem in mirror.problems)
    assert len(told) == len(problems)
    assert all(any(part in message for message in told) for part in problems)
    assert mirror.listed == listed


def test_only_what_has_changed_is_handed_on() -> None:
    mirror = Mirror(GUARD)
    mirror.take(LIST)
    for event in (LIST, Upserted(A1), Refused(403)):
        assert mirror.take(event) == {}
    assert mirror.take(Replaced((A2, B1))) == {("ns", "a"): 2}
    assert mirror.take(ODD) == {("ns", "a"): 99}
    assert mirror.take(LIST_WITH_ODD) == {}
    assert mirror.take(ODD_GONE) == {("ns", "a"): None}


def test_a_refusal_names_its_cure_and_what_it_means() -> None:
    mirror = Mirror(PLAIN)
    mirror.take(Refused(403))
    (problem,) = mirror.problems
    assert str(problem.cause) == "Thing"
    assert 'list and watch of resources ["things"] in apiGroups ["example.org"]' in problem.message
    assert problem.message.endswith("until then nothing is done")
    mirror.take(LIST)
    mirror.take(Refused(403))
    (problem,) = mirror.problems
    assert problem.message.endswith("those known before stay in force")


def test_objects_checked_as_their_page_came_count_like_decoded_ones() -> None:
    checked, decoded = Mirror(PLAIN), Mirror(PLAIN)
    odd = thing("a", -1)
    for event, same in (
        (LIST, Replaced((PLAIN.check(A1), PLAIN.check(B1)))),
        (Upserted(odd), Upserted(PLAIN.check(odd))),
        (Deleted(B1), Deleted(PLAIN.check(B1))),
    ):
        assert checked.take(same) == decoded.take(event)
        assert checked.known == decoded.known
        assert list(checked.problems) == list(decoded.problems)


def test_an_unreadable_object_is_there_all_the_same() -> None:
    mirror = Mirror(PLAIN)
    mirror.take(LIST_WITH_ODD)
    assert ("ns", "a") in mirror
    assert ("ns", "a") not in mirror.known
    mirror.take(ODD_GONE)
    assert ("ns", "a") not in mirror
