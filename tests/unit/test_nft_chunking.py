"""Which of many changes may go to the kernel before the others."""

from ipaddress import IPv4Address

from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.nftables.chunking import AT_ONCE, chunks
from steppe.plan.diff import Change
from steppe.state.nft import Element, ElementKey

SETS = {spec.name: spec for spec in SKELETON.sets}
PLACE = (IPv4Address("10.96.0.1"), "tcp", 80)
OLD, NEW = (Element((IPv4Address(f"10.244.0.{host}"), 8080)) for host in (1, 2))


def endpoint(choice: int, old: Element | None = None, new: Element | None = NEW) -> Change:
    return Change(ElementKey("endpoint4", (*PLACE, choice)), old, new)


ADDED = [endpoint(choice) for choice in range(2 * AT_ONCE + 1)]
VERDICT = Change(ElementKey("service4", PLACE), None, Element((f"spread-{len(ADDED)}",)))


def test_few_changes_are_one_transaction() -> None:
    changes = [VERDICT, *ADDED[: AT_ONCE - 1]]
    assert list(chunks(SETS, changes)) == [changes]


def test_new_endpoints_of_many_come_before_the_verdict_that_leads_to_them() -> None:
    found = list(chunks(SETS, [VERDICT, *ADDED]))
    assert [len(chunk) for chunk in found] == [AT_ONCE, AT_ONCE, 1, 1]
    assert [change for chunk in found[:-1] for change in chunk] == ADDED
    assert found[-1] == [VERDICT]


def test_whatever_packets_may_meet_already_changes_together() -> None:
    peer = (IPv4Address("10.244.0.9"),)
    together = [
        endpoint(len(ADDED), OLD, NEW),
        endpoint(len(ADDED) + 1, OLD, None),
        Change(ElementKey("sticky_id4", (*PLACE, 0)), None, Element((7,))),
        Change(ElementKey("ingress_peer4", peer), None, Element((7,))),
        Change(ElementKey("ingress_guarded4", peer), None, Element()),
        VERDICT,
    ]
    assert list(chunks(SETS, [*together, *ADDED]))[-1] == together


def test_a_change_to_a_set_that_is_not_there_waits_for_the_driver_to_refuse_it() -> None:
    unknown = Change(ElementKey("nowhere", PLACE), None, NEW)
    assert list(chunks(SETS, [*ADDED, unknown]))[-1] == [unknown]
