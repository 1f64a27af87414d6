"""Objects that an API server refuses: which field, why, and what was meant."""

from typing import Any

import pytest
import yaml

from steppe.kube.cause import ObjectRef
from steppe.manifests.checked import changed, checked
from steppe.manifests.documents import ref_of

NP = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: d}\n"
SVC = "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: d}\n"
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: d}\n"
DEPLOY = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w, namespace: d}\n"
JOB = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\n"
CNP = "apiVersion: policy.networking.k8s.io/v1beta1\nkind: ClusterNetworkPolicy\n"
CNP += "metadata: {name: c}\n"
RULE = "{name: r, action: Deny, from: [{namespaces: {}}]}"
TEMPLATE = "{metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: x}]}}"


def faults(text: str) -> list[tuple[str, str]]:
    document = yaml.safe_load(text)
    found = checked(ref_of(document), document)
    return [(problem.cause.field, problem.message) for problem in found.refused]


REFUSED = (
    (NP + "spec: {podselector: {}}", "spec.podselector", "did you mean podSelector?"),
    (NP + "spec: {podSelector: {}, ingres: []}", "spec.ingres", "did you mean ingress?"),
    (NP + "spec: {podSelector: {}, policyType: [Ingress]}", "spec.policyType", "policyTypes?"),
    (NP + "spec: {podSelector: {}, ingress: {from: []}}", "spec.ingress", "mapping, not a list"),
    (
        NP + "spec: {podSelector: [], ingress: []}",
        "spec.podSelector",
        "it is a list, not a mapping",
    ),
    (NP + "spec: {podSelector: {}, ingress: [{to: []}]}", "spec.ingress[0].to", "mean from?"),
    (NP + "spec: {podSelector: {}, egress: [{from: []}]}", "spec.egress[0].from", "mean to?"),
    (
        NP + "spec: {podSelector: {app: web}}",
        "spec.podSelector.app",
        "there is no such field",
    ),
    (
        NP + "spec: {podSelector: {matchLabel: {a: b}}}",
        "spec.podSelector.matchLabel",
        "did you mean matchLabels?",
    ),
    (
        NP + "spec: {podSelector: {}, ingress: [{from: [{matchLabels: {a: b}}]}]}",
        "spec.ingress[0].from[0].matchLabels",
        "podSelector.matchLabels",
    ),
    (
        NP + "spec: {podSelector: {matchLabels: {a: true}}}",
        "spec.podSelector.matchLabels.a",
        "it is true or false, not a text; put it in quotes",
    ),
    (
        NP + "spec: {podSelector: {}, ingress: [{ports: [{port: '80'}]}]}",
        "spec.ingress[0].ports[0].port",
        "must contain at least one letter",
    ),
    (
        NP + "spec: {podSelector: {}, ingress: [{ports: [{port: 80, protocol: tcp}]}]}",
        "spec.ingress[0].ports[0].protocol",
        'Unsupported value: "tcp"',
    ),
    (
        NP + "spec: {podSelector: {}, policyTypes: [ingress]}",
        "spec.policyTypes[0]",
        'Unsupported value: "ingress"',
    ),
    (
        NP + "spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.1}}]}]}",
        "spec.ingress[0].from[0].ipBlock.cidr",
        "must be a valid CIDR",
    ),
    (SVC + "spec: {selectors: {a: b}, ports: [{port: 80}]}", "spec.selectors", "selector?"),
    (SVC + "spec: {selector: {a: b}}", "spec.ports", "Required value"),
    (SVC + "spec: {ports: [{port: '80'}]}", "spec.ports[0].port", "it is a text, not a number"),
    (SVC + "spec: {ports: [{port: 80}, {port: 81}]}", "spec.ports[0].name", "Required value"),
    (
        SVC + "spec: {externalIPs: ['2001:db8::1%eth0'], ports: [{port: 80}]}",
        "spec.externalIPs[0]",
        "must be a valid IP address",
    ),
    (
        (
            "apiVersion: v1\nkind: Endpoints\nmetadata: {name: e, namespace: d}\n"
            "subsets: [{addresses: [{ip: '2001:db8::1%eth0'}], ports: [{port: 80}]}]\n"
        ),
        "subsets[0].addresses[0].ip",
        "must be a valid IP address",
    ),
    (SVC + "spec: {type: Nodeport, ports: [{port: 80}]}", "spec.type", "Unsupported value"),
    (
        SVC + "spec: {ports: [{port: 80, targetport: 8080}]}",
        "spec.ports[0].targetport",
        "did you mean targetPort?",
    ),
    (
        POD + "spec: {hostnetwork: true, containers: [{name: c, image: x}]}",
        "spec.hostnetwork",
        "did you mean hostNetwork?",
    ),
    (
        POD + "spec: {containers: [{name: c, image: x, ports: [{containerPort: '80'}]}]}",
        "spec.containers[0].ports[0].containerPort",
        "it is a text, not a number",
    ),
    (
        POD + "spec: {containers: {name: c}}",
        "spec.containers",
        "it is a mapping, not a list",
    ),
    (
        DEPLOY + f"spec: {{selector: {{matchLabels: {{a: c}}}}, template: {TEMPLATE}}}",
        "spec.template.metadata.labels",
        "`selector` does not match template",
    ),
    (DEPLOY + f"spec: {{template: {TEMPLATE}}}", "spec.selector", "Required value"),
    (
        DEPLOY + f"spec: {{replica: 2, selector: {{matchLabels: {{a: b}}}}, template: {TEMPLATE}}}",
        "spec.replica",
        "did you mean replicas?",
    ),
    (
        CNP
        + f"spec: {{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, ingres: [{RULE}]}}",
        "spec.ingres",
        "did you mean ingress?",
    ),
    (
        CNP + "spec: {tier: admin, priority: 1, subject: {namespaces: {}}}",
        "spec.tier",
        'Unsupported value: "admin"',
    ),
    (CNP + "spec: {tier: Admin, subject: {namespaces: {}}}", "spec.priority", "Required value"),
)

TAKEN = (
    NP + "spec: {podSelector: null, ingress: null, egress: [], policyTypes: null}",
    NP + "spec: {}",
    SVC + "spec: {clusterIP: null, ports: [{port: 80, nodePort: null, protocol: null}]}",
    SVC + "spec: {clusterIP: None, selector: {a: b}}",
    POD + "spec: {hostNetwork: null, containers: [{name: c, ports: null}]}",
    POD + "spec: {containers: [{name: c, image: x}]}\nstatus: {somethingNew: 1}",
    DEPLOY + f"spec: {{selector: {{matchLabels: {{a: b}}}}, template: {TEMPLATE}}}",
    CNP + f"spec: {{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, ingress: [{RULE}]}}",
    JOB + "spec: {template: {spec: {containers: []}}}",
    "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: t}\nspec: {anything: 1}",
)


@pytest.mark.parametrize(("text", "field", "said"), REFUSED)
def test_what_an_api_server_refuses_is_told_by_field(text: str, field: str, said: str) -> None:
    found = dict(reversed(faults(text)))
    assert field in found, found
    assert said in found[field]


@pytest.mark.parametrize("text", TAKEN)
def test_what_an_api_server_takes_has_no_fault(text: str) -> None:
    assert not faults(text)


def test_nulls_are_fields_that_are_not_set() -> None:
    document = yaml.safe_load(SVC + "spec: {clusterIP: null, ports: [{port: 80, nodePort: null}]}")
    assert checked(ref_of(document), document).document["spec"] == {"ports": [{"port": 80}]}


def test_a_newer_servers_fields_are_let_pass_in_its_own_dump_and_slips_are_not() -> None:
    head = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: d, uid: abc}\n"
    assert not faults(head + "spec: {brandNewThing: 1, containers: [{name: c, image: x}]}")
    assert faults(head + "spec: {hostnetwork: true, containers: [{name: c, image: x}]}")


@pytest.mark.parametrize(
    ("kind", "old", "new", "field"),
    [
        ("Service", {"clusterIP": "10.96.0.5"}, {"clusterIP": "10.96.0.6"}, "spec.clusterIPs[0]"),
        ("Node", {"podCIDRs": ["10.1.0.0/24"]}, {"podCIDRs": ["10.2.0.0/24"]}, "spec.podCIDRs"),
    ],
)
def test_what_may_not_change_is_told(
    kind: str, old: dict[str, Any], new: dict[str, Any], field: str
) -> None:
    namespace = "" if kind == "Node" else "d"
    ref = ObjectRef(kind, namespace, "x")

    def document(spec: dict[str, Any]) -> dict[str, Any]:
        ports = {"ports": [{"port": 80}]} if kind == "Service" else {}
        return {"kind": kind, "metadata": {"name": "x"}, "spec": spec | ports}

    assert [problem.cause.field for problem in changed(ref, document(old), document(new))] == [
        field
    ]
    assert not changed(ref, document(old), document(old))
