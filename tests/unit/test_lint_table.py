"""Every check, three times: where it is told, where it is silent, and in a world not known whole.

The first two tables continue those of test_lint_traps.py.
"""

import json

import pytest

from steppe.lint.registry import CHECKS
from tests.unit.test_lint_traps import (
    DB,
    NODES,
    ROLLOUT,
    SILENT,
    TRAPS,
    WEB,
    Trap,
    findings,
    ingress,
    made,
    node,
    pod,
    policy,
    service,
    space,
)

P = "NetworkPolicy/shop/p"
OF_DB = "podSelector: {matchLabels: {app: db}}"
SQL = DB.replace("containerPort: 5432", "name: sql, containerPort: 5432")
DB_2 = pod("db-2", "shop", "{app: db, v: two}", 5433).replace("containerP", "name: sql, containerP")
S_DB = service("{selector: {app: db}, ports: [{port: 5432}]}")


def aged(name: str, month: int) -> str:
    """A node of that month; all have one prefix, and addresses of their own."""
    meta = f"metadata: {{name: {name}, creationTimestamp: '2026-0{month}-01T00:00:00Z'}}"
    made_ = node(name, 1).replace(f"metadata: {{name: {name}}}", meta)
    return made_.replace("192.0.2.11", f"192.0.2.2{month}")


EARLY, LATE = aged("n1", 1), aged("n2", 2)


def wired(name: str, number: int, mtu: int) -> str:
    """A node that says the MTU of its link."""
    link = json.dumps({"link": "eth0", "mtu": mtu, "addresses": [f"192.0.2.1{number}/24"]})
    annotated = f"metadata: {{name: {name}, annotations: {{steppe.dev/underlay: '{link}'}}}}"
    return node(name, number).replace(f"metadata: {{name: {name}}}", annotated)


def external(address: str) -> str:
    return service(f"{{clusterIP: 10.96.0.10, externalIPs: [{address}], ports: [{{port: 80}}]}}")


# fmt: off
MORE_TRAPS = (
    Trap("not-its-own", "Node/n2 spec.podCIDRs[0]", ("10.244.1.0/24",), (EARLY, LATE)),
    Trap("external-ips", "Service/shop/s spec.externalIPs", ("externalIPs let",),
         (NODES, external("203.0.113.9"))),
    Trap("selects-host-network", f"{P} spec.podSelector", ("host's network",),
         (pod("h", "shop", "{app: h}", more=", hostNetwork: true"),
          policy("{podSelector: {matchLabels: {app: h}}}"))),
    Trap("not-compared", f"{P} spec.podSelector", ("no pod of that namespace is known here",),
         (policy("{podSelector: {matchLabels: {app: db}}}"),)),
    Trap("matches-nobody", f"{P} spec.ingress[0].from[0]", ("matches no pod", "app=wep"),
         (DB, WEB, ingress("{podSelector: {matchLabels: {app: wep}}}"))),
    Trap("namespace-not-here", f"{P} spec.ingress[0].from[0]", ("no namespace that is known here",),
         (DB, ingress("{namespaceSelector: {matchLabels: {team: x}}}"))),
    Trap("already-covered", f"{P} spec.ingress[1]", ("spec.ingress[0]",),
         (DB, WEB, policy(f"{{{OF_DB}, ingress: [{{}}, {{ports: [{{port: 5432}}]}}]}}"))),
    Trap("port-not-served", f"{P} spec.ingress[0].ports", ("port named 'http'",),
         (SQL, policy(f"{{{OF_DB}, ingress: [{{ports: [{{port: http}}]}}]}}"))),
    Trap("port-not-declared", f"{P} spec.ingress[0].ports", ("5433", "they declare 5432 TCP"),
         (DB, policy(f"{{{OF_DB}, ingress: [{{ports: [{{port: 5433}}]}}]}}"))),
    Trap("no-target-port", "Service/shop/s spec.ports[0].targetPort", ("nope",),
         (SQL, service("{selector: {app: db}, ports: [{port: 80, targetPort: nope}]}"))),
    Trap("target-port-undeclared", "Service/shop/s spec.ports[0].targetPort", ("80",),
         (DB, service("{selector: {app: db}, ports: [{port: 80}]}"))),
    Trap("ports-differ", "Service/shop/s spec.ports[0].targetPort", ("5432", "5433"),
         (SQL, DB_2, service("{selector: {app: db}, ports: [{port: 80, targetPort: sql}]}"))),
    Trap("all-denied", "Service/shop/s spec.ports[0]", ("keeps them out",),
         (DB, WEB, S_DB, policy(f"{{{OF_DB}}}"))),
    Trap("partly-denied", "Service/shop/s spec.ports[0]", ("1 of 2 endpoints",),
         (DB, WEB, DB_2.replace("5433", "5432"), S_DB,
          policy("{podSelector: {matchLabels: {v: two}}}"))),
    Trap("mtu-differs", "Node/n2 metadata.annotations", ("1400",),
         (wired("n1", 1, 1500), wired("n2", 2, 1400), wired("n3", 3, 1500))),
    # The advice is tried, so it is given only where it helps.
    Trap("label-of-pods", f"{P} spec.ingress[0].from[0]",
         ("; write it under podSelector, with namespaceSelector", "metadata.name: ops"),
         (DB, pod("agent", "ops", "{app: agent}"),
          ingress("{namespaceSelector: {matchLabels: {app: agent}}}"))),
)
MORE_SILENT = (
    ("not-its-own", (EARLY, LATE.replace("10.244.1.0/24", "10.244.2.0/24"))),
    ("external-ips", (NODES, external("203.0.113.9").replace("externalIPs: [203.0.113.9], ", ""))),
    ("selects-nothing", (DB, policy(f"{{{OF_DB}}}"))),
    ("selects-host-network", (
        DB, pod("h", "shop", "{app: db}", more=", hostNetwork: true"), policy(f"{{{OF_DB}}}"))),
    ("other-namespace", (DB, pod("db", "default", "{app: db}"),
                         policy(f"{{{OF_DB}}}", namespace="default"))),
    ("not-compared", (DB, policy(f"{{{OF_DB}}}"))),
    ("matches-nobody", (DB, WEB, ingress("{podSelector: {matchLabels: {app: web}}}"))),
    ("namespace-not-here", (DB, space("ops", "{team: x}"),
                            ingress("{namespaceSelector: {matchLabels: {team: x}}}"))),
    ("label-of-pods", (DB, WEB, space("ops", "{app: web}"),
                       ingress("{namespaceSelector: {matchLabels: {app: web}}}"))),
    ("label-of-namespace", (DB, WEB, space("web", "{app: web}"),
                            ingress("{podSelector: {matchLabels: {app: web}}}"))),
    ("already-covered", (DB, WEB, policy(
        f"{{{OF_DB}, ingress: [{{ports: [{{port: 80}}]}}, {{ports: [{{port: 5432}}]}}]}}"))),
    ("port-not-served", (SQL, policy(f"{{{OF_DB}, ingress: [{{ports: [{{port: sql}}]}}]}}"))),
    ("port-not-declared", (DB, policy(f"{{{OF_DB}, ingress: [{{ports: [{{port: 5432}}]}}]}}"))),
    ("no-endpoints", (DB, S_DB)),
    ("ports-differ", (SQL, DB_2.replace("5433", "5432"),
                      service("{selector: {app: db}, ports: [{port: 80, targetPort: sql}]}"))),
    ("all-denied", (DB, WEB, S_DB, ingress("{podSelector: {matchLabels: {app: web}}}"))),
    ("partly-denied", (DB, WEB, DB_2.replace("5433", "5432"), S_DB,
                       ingress("{podSelector: {matchLabels: {app: web}}}"))),
    ("host-port", (made("DaemonSet", "a", "{selector: {matchLabels: {d: a}}, template: {metadata: "
                        "{labels: {d: a}}, spec: {containers: [{name: c, image: x, ports: "
                        "[{containerPort: 80}]}]}}}"),)),
    ("mtu-differs", (wired("n1", 1, 1500), wired("n2", 2, 1500))),
)
# fmt: on

EVERY_TRAP = (*TRAPS, *MORE_TRAPS)
EVERY_SILENT = (*SILENT, *MORE_SILENT)
UNKNOWN_PODS = tuple(
    ROLLOUT.replace("namespace: shop", f"namespace: {name}").replace("{app: web}", "{any: thing}")
    for name in ("shop", "ops", "default", "kube-system")
)
UNREAD_POLICY = tuple(
    policy("{podSelector: {}, ingres: []}", "typo", name) for name in ("shop", "ops", "default")
)
WORLDS = {"pods": UNKNOWN_PODS, "policies": UNREAD_POLICY}
"""What makes a world incomplete: kinds that make pods, and policies that cannot be read."""

FROM_ABSENCE = frozenset(
    {
        ("and-as-or", "pods"),
        ("or-as-and", "pods"),
        ("label-of-namespace", "pods"),
        ("peer-elsewhere", "pods"),
        ("other-namespace", "pods"),
        ("selects-nothing", "pods"),
        ("no-endpoints", "pods"),
        ("matches-nobody", "pods"),
        ("port-not-served", "pods"),
        ("no-target-port", "pods"),
        ("all-denied", "pods"),
        ("all-denied", "policies"),
        ("partly-denied", "policies"),
        ("dns-closed", "policies"),
        (f"missing-policy-types at {P} spec.policyTypes", "policies"),
    }
)
"""The checks that conclude from what is not there, by what may be there: they are silent then. All
others conclude from what is there, and stay.
"""


@pytest.mark.parametrize("trap", MORE_TRAPS, ids=[t.check for t in MORE_TRAPS])
def test_who_fell_into_a_trap_is_told(trap: Trap) -> None:
    found = findings(trap.objects)
    mine = [each for each in found if (each.check, str(each.cause)) == (trap.check, trap.cause)]
    assert len(mine) == 1, found
    for words in trap.words:
        assert words in mine[0].message, mine[0].message


@pytest.mark.parametrize(("check", "objects"), MORE_SILENT, ids=[check for check, _ in MORE_SILENT])
def test_who_did_it_right_is_not_told(check: str, objects: tuple[str, ...]) -> None:
    assert check not in {found.check for found in findings(objects)}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(
    "trap", EVERY_TRAP, ids=[f"{n} {t.check}" for n, t in enumerate(EVERY_TRAP)]
)
def test_in_a_world_that_is_not_known_whole_nothing_is_concluded_from_absence(
    trap: Trap, world: str
) -> None:
    found = findings((*trap.objects, *WORLDS[world]))
    told = (trap.check, trap.cause) in {(each.check, str(each.cause)) for each in found}
    silent = {(trap.check, world), (f"{trap.check} at {trap.cause}", world)} & FROM_ABSENCE
    assert told == (not silent), found
    assert not any("remove" in each.message for each in found)
    if world == "policies":
        assert not any("stays open" in each.message for each in found)


def test_every_check_is_tried_in_all_three_ways() -> None:
    every = {check.id for check in CHECKS}
    assert {trap.check for trap in EVERY_TRAP} == every
    assert {check for check, _ in EVERY_SILENT} == every
    assert {check.partition(" at ")[0] for check, _ in FROM_ABSENCE} <= every
