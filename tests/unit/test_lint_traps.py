"""Each trap that lint knows: what it says where somebody fell into it, and where it is silent."""

from typing import NamedTuple

import pytest
import yaml

from steppe.lint.finding import Finding
from steppe.lint.lint import lint
from steppe.manifests.cluster import loaded_from
from steppe.manifests.documents import Manifest


def pod(name: str, namespace: str, labels: str, port: int = 8080, more: str = "") -> str:
    return (
        "kind: Pod\n"
        f"metadata: {{name: {name}, namespace: {namespace}, labels: {labels}}}\n"
        f"spec: {{containers: [{{name: c, image: x, ports: [{{containerPort: {port}}}]}}]{more}}}\n"
    )


def made(kind: str, name: str, spec: str, namespace: str = "shop") -> str:
    return f"kind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"


def policy(spec: str, name: str = "p", namespace: str = "shop") -> str:
    return made("NetworkPolicy", name, spec, namespace)


def space(name: str, labels: str = "{}") -> str:
    return f"kind: Namespace\nmetadata: {{name: {name}, labels: {labels}}}\n"


def node(name: str, number: int) -> str:
    return (
        f"kind: Node\nmetadata: {{name: {name}}}\nspec: {{podCIDRs: [10.244.{number}.0/24]}}\n"
        f"status: {{addresses: [{{type: InternalIP, address: 192.0.2.1{number}}}]}}\n"
    )


WEB = pod("web", "shop", "{app: web}")
DB = pod("db", "shop", "{app: db}", 5432)
AGENT = pod("agent", "ops", "{app: agent}")
DNS = pod("coredns", "kube-system", "{k8s-app: kube-dns}", 53).replace("5353", "53")
DNS_SERVICE = made(
    "Service",
    "kube-dns",
    "{clusterIP: 10.96.0.10, selector: {k8s-app: kube-dns}, ports: [{port: 53, protocol: UDP}]}",
    "kube-system",
)
NODES = node("n1", 1) + "---\n" + node("n2", 2)
TO_DB = "{to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 5432}]}"


def egress(*rules: str) -> str:
    listed = ", ".join(rules)
    return policy(
        f"{{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [Egress], egress: [{listed}]}}"
    )


def ingress(*peers: str, of: str = "db") -> str:
    listed = ", ".join(peers)
    return policy(
        f"{{podSelector: {{matchLabels: {{app: {of}}}}}, ingress: [{{from: [{listed}]}}]}}"
    )


SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: ext-1, namespace: shop{labels}}}
addressType: IPv4
ports: [{ports}]
endpoints: [{{addresses: [198.51.100.10]}}]
"""
EXT = made("Service", "ext", "{ports: [{name: pg, port: 5432}]}")
LABELLED = ", labels: {kubernetes.io/service-name: ext}"


def slices(labels: str = LABELLED, ports: str = "{name: pg, port: 5433}") -> str:
    return SLICE.format(labels=labels, ports=ports)


def sts(spec: str) -> str:
    template = "{metadata: {labels: {app: st}}, spec: {containers: [{name: c, image: x}]}}"
    return made(
        "StatefulSet",
        "st",
        f"{{selector: {{matchLabels: {{app: st}}}}, template: {template}{spec}}}",
    )


HEADLESS = made("Service", "st", "{clusterIP: None, selector: {app: st}, ports: [{port: 80}]}")


def service(spec: str, name: str = "s") -> str:
    return made("Service", name, spec)


def daemon(name: str, port: str) -> str:
    containers = f"[{{name: c, image: x, ports: [{port}]}}]"
    return made(
        "DaemonSet",
        name,
        f"{{selector: {{matchLabels: {{d: {name}}}}}, template: {{metadata: {{labels: "
        f"{{d: {name}}}}}, spec: {{containers: {containers}}}}}}}",
    )


FOUR = "status: {phase: Running, podIP: 10.244.1.5, podIPs: [{ip: 10.244.1.5}]}\n"
DUAL = "{ipFamilyPolicy: RequireDualStack, clusterIPs: [10.96.1.1, 'fd00:10:96::1'], "


class Trap(NamedTuple):
    """`check` at `cause` says all of `words` of these objects."""

    check: str
    cause: str
    words: tuple[str, ...]
    objects: tuple[str, ...]


P = "NetworkPolicy/shop/p"
OPENED = (
    "apiVersion: policy.networking.k8s.io/v1beta1\nkind: ClusterNetworkPolicy\n"
    "metadata: {name: for-some}\n"
    "spec: {tier: Admin, priority: 1, subject: {pods: {namespaceSelector: {}, podSelector: "
    "{matchLabels: {team: a}}}}, RULES}\n"
)
TRAPS = (
    # An administrator's policy opens it to the first pod, and not to the second.
    Trap("dns-closed", f"{P} spec.egress", ("shop/web2 is isolated for egress",),
         (DB, DNS, DNS_SERVICE, pod("web", "shop", "{app: web, team: a}"),
          pod("web2", "shop", "{app: web}"), egress(TO_DB),
          OPENED.replace("RULES", "egress: [{action: Accept, to: [{namespaces: {}}]}]"))),
    Trap("dns-closed", f"{P} spec.egress",
         ("shop/web is isolated for egress", "53/UDP", "finds no names", "add the rule"),
         (WEB, DB, egress(TO_DB))),
    Trap("dns-closed", f"{P} spec.egress", ("may not ask any DNS",),
         (WEB, egress("{to: [{ipBlock: {cidr: 0.0.0.0/0, except: "
                      "[10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]}}]}"))),
    Trap("dns-closed", f"{P} spec.egress", ("DNS (kube-system/coredns)", "add the rule"),
         (WEB, DB, DNS, DNS_SERVICE, egress(TO_DB))),
    Trap("dns-closed", f"{P} spec.egress", ("DNS (kube-system/coredns)",),
         (WEB, DNS, DNS_SERVICE, egress("{to: [{podSelector: {}}], "
                                        "ports: [{port: 53, protocol: UDP}]}"))),
    Trap("dns-closed", f"{P} spec.egress", ("may not ask any DNS",),
         (WEB, DB, egress("{to: [{podSelector: {matchLabels: {app: db}}}]}"))),
    Trap("dns-closed", f"{P} spec.egress", ("may not ask any DNS",),
         (WEB, egress("{ports: [{port: 443}]}"))),
    Trap("ipblock-of-service", f"{P} spec.egress[0].to",
         ("cluster IP of Service kube-system/kube-dns", "name the pods", "k8s-app: kube-dns"),
         (WEB, DNS, DNS_SERVICE, egress("{to: [{ipBlock: {cidr: 10.96.0.10/32}}]}"))),
    Trap("ipblock-of-service", f"{P} spec.ingress[0].from", ("no packet comes from it",),
         (DB, DNS, DNS_SERVICE, ingress("{ipBlock: {cidr: 10.96.0.10/32}}"))),
    Trap("ipblock-of-pod", f"{P} spec.ingress[0].from", ("shop/w6", "app: w6"),
         (NODES, DB, pod("w6", "shop", "{app: w6}", more=", nodeName: n1") + FOUR,
          ingress("{ipBlock: {cidr: 10.244.1.5/32}}"))),
    Trap("service-port", f"{P} spec.ingress[0].ports",
         ("port 80 TCP is the port of Service shop/db", "5432 TCP of its pods", "write 5432"),
         (DB, service("{selector: {app: db}, ports: [{port: 80, targetPort: 5432}]}", "db"),
          policy("{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 80}]}]}"))),
    Trap("exception-void", f"{P} spec.ingress[0].from[0]",
         ("from[1] takes every pod", "without from[1], ops/agent for one stays out"),
         (DB, AGENT, ingress("{namespaceSelector: {matchExpressions: [{key: "
                             "kubernetes.io/metadata.name, operator: NotIn, values: [ops]}]}}",
                             "{namespaceSelector: {}}"))),
    Trap("exception-void", f"{P} spec.ingress[0].from[0]", ("all of 10.0.0.0/8",),
         (DB, ingress("{ipBlock: {cidr: 0.0.0.0/0, except: [10.1.0.0/16]}}",
                      "{ipBlock: {cidr: 10.0.0.0/8}}"))),
    Trap("exception-void", f"{P} spec.ingress[0].from[0]", ("spec.ingress[1] takes everybody",),
         (DB, WEB, policy("{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: "
                          "{matchExpressions: [{key: app, operator: NotIn, values: [web]}]}}]}, "
                          "{}]}"))),
    Trap("exception-void", f"{P} spec.ingress[0].from[0]",
         ("NetworkPolicy shop/all spec.ingress[0].from[0] takes every pod", "adds up"),
         (DB, AGENT, ingress("{namespaceSelector: {matchExpressions: [{key: "
                             "kubernetes.io/metadata.name, operator: NotIn, values: [ops]}]}}"),
          policy("{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}", "all"))),
    Trap("and-as-or", f"{P} spec.ingress[0].from[1]",
         ("app=agent", "namespace ops", "write both selectors in one entry"),
         (DB, AGENT, space("ops", "{team: ops}"),
          ingress("{namespaceSelector: {matchLabels: {team: ops}}}",
                  "{podSelector: {matchLabels: {app: agent}}}"))),
    Trap("or-as-and", f"{P} spec.ingress[0].from[0]", ("write two entries", "app=web"),
         (DB, WEB, AGENT, ingress("{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: "
                                  "ops}}, podSelector: {matchLabels: {app: web}}}"))),
    Trap("label-of-pods", f"{P} spec.ingress[0].from[0]", ("app=web is a label of pods",),
         (DB, WEB, ingress("{namespaceSelector: {matchLabels: {app: web}}}"))),
    Trap("label-of-namespace", f"{P} spec.ingress[0].from[0]",
         ("kubernetes.io/metadata.name=ops is a label of namespace ops",),
         (DB, AGENT, ingress("{podSelector: {matchLabels: {kubernetes.io/metadata.name: ops}}}"))),
    Trap("peer-elsewhere", f"{P} spec.ingress[0].from[0]",
         ("own namespace, shop", "are in ops", "add namespaceSelector"),
         (DB, AGENT, ingress("{podSelector: {matchLabels: {app: agent}}}"))),
    Trap("other-namespace", "NetworkPolicy/default/p spec.podSelector",
         ("app=db are in shop", "metadata.namespace: shop"),
         (DB, policy("{podSelector: {matchLabels: {app: db}}}", namespace="default"))),
    Trap("host-network-peer", f"{P} spec.ingress[0].from[0]", ("ops/host", "node's address"),
         (DB, pod("host", "ops", "{app: host}", more=", hostNetwork: true"),
          ingress("{namespaceSelector: {}, podSelector: {matchLabels: {app: host}}}"))),
    Trap("missing-policy-types", f"{P} spec.policyTypes",
         ("closes ingress as well", "nobody reaches shop/web", "policyTypes: [Egress]"),
         (WEB, DB, policy("{podSelector: {matchLabels: {app: web}}, "
                          "egress: [{ports: [{port: 53, protocol: UDP}]}]}"))),
    Trap("missing-policy-types", f"{P} spec.egress", ("stays open", "[Ingress, Egress]"),
         (WEB, policy("{podSelector: {}, egress: []}"))),
    Trap("rules-switched-off", f"{P} spec.egress",
         ("its 1 rule does nothing", "names Ingress only", "egress of shop/web stays open"),
         (WEB, policy("{podSelector: {}, policyTypes: [Ingress], egress: [{}]}"))),
    Trap("rules-switched-off", f"{P} spec.ingress", ("names Egress only",),
         (WEB, policy("{podSelector: {}, policyTypes: [Egress], ingress: [{}], egress: [{}]}"))),
    Trap("slice-without-service", "EndpointSlice/shop/ext-1 metadata.labels",
         ("belongs to no Service", "add kubernetes.io/service-name: ext"), (EXT, slices(""))),
    Trap("slice-port-name", "EndpointSlice/shop/ext-1 ports",
         ("has no TCP port named 'pg'", "write name: pg"), (EXT, slices(ports="{port: 5433}"))),
    Trap("same-address", "Service/shop/t spec.externalIPs[0]",
         ("203.0.113.9 TCP 80", "Service shop/s"),
         (service("{externalIPs: [203.0.113.9], ports: [{port: 80}]}"),
          service("{externalIPs: [203.0.113.9], ports: [{port: 80}]}", "t"))),
    Trap("problem", "Service/shop/t spec.ports[0].nodePort",
         ("30080", "already allocated to Service/shop/s"),
         (service("{type: NodePort, ports: [{port: 80, nodePort: 30080}]}"),
          service("{type: NodePort, ports: [{port: 80, nodePort: 30080}]}", "t"))),
    Trap("headless-port", "Service/shop/s spec.ports[0].port",
         ("headless", "the pods have 5432", "write port: 5432"),
         (DB, service("{clusterIP: None, selector: {app: db}, "
                      "ports: [{port: 80, targetPort: 5432}]}"))),
    Trap("no-service-name", "StatefulSet/shop/st spec.serviceName", ("is missing",), (sts(""),)),
    Trap("no-service-name", "StatefulSet/shop/st spec.serviceName", ("not headless",),
         (sts(", serviceName: st"), HEADLESS.replace("None", "10.96.3.4"))),
    Trap("one-family", "Service/shop/s spec.ipFamilies", ("no IPv6 endpoint", "fd00:10:96::1"),
         (NODES, pod("w6", "shop", "{app: w6}", more=", nodeName: n1") + FOUR,
          service(DUAL + "selector: {app: w6}, ports: [{port: 80}]}"))),
    Trap("affinity-masked", "Service/shop/s spec.sessionAffinity", ("another node",),
         (service("{type: NodePort, sessionAffinity: ClientIP, ports: [{port: 80}]}"),)),
    Trap("host-port", "DaemonSet/shop/a spec.template.spec.containers[0].ports[0].hostPort",
         ("hostPort 80",), (daemon("a", "{containerPort: 80, hostPort: 80}"),)),
    Trap("host-port-conflict", "DaemonSet/shop/b spec.template.spec.containers",
         ("TCP 80 of node", "taken by shop/a-node-"),
         (daemon("a", "{containerPort: 80, hostPort: 80}"),
          daemon("b", "{containerPort: 81, hostPort: 80}"))),
    Trap("masqueraded-clients", f"{P} spec.ingress[0].from",
         ("that node's address", "externalTrafficPolicy: Local"),
         (NODES, pod("db", "shop", "{app: db}", 5432, ", nodeName: n1"),
          service("{type: NodePort, selector: {app: db}, ports: [{port: 5432, nodePort: 30080}]}"),
          ingress("{ipBlock: {cidr: 198.51.100.0/28}}"))),
    Trap("selects-nothing", f"{P} spec.podSelector", ("pods there have app=db",),
         (DB, policy("{podSelector: {matchLabels: {app: bd}}}"))),
    Trap("no-endpoints", "Service/shop/s spec.selector", ("pods with app=agent are in ops",),
         (AGENT, DB, service("{selector: {app: agent}, ports: [{port: 80}]}"))),
)  # fmt: skip


def findings(objects: tuple[str, ...]) -> tuple[Finding, ...]:
    documents = [d for text in objects for d in yaml.safe_load_all(text)]
    return lint(loaded_from(Manifest(document) for document in documents))


@pytest.mark.parametrize("trap", TRAPS, ids=[f"{n} {t.check}" for n, t in enumerate(TRAPS)])
def test_who_fell_into_a_trap_is_told(trap: Trap) -> None:
    found = findings(trap.objects)
    mine = [each for each in found if (each.check, str(each.cause)) == (trap.check, trap.cause)]
    assert len(mine) == 1, found
    for words in trap.words:
        assert words in mine[0].message, mine[0].message


DNS_RULE = "{to: [{namespaceSelector: {}}], ports: [{port: 53, protocol: UDP}]}"
SILENT = (
    ("dns-closed", (WEB, DB, egress(TO_DB, DNS_RULE))),
    ("dns-closed", (WEB, DB, egress(TO_DB, "{ports: [{port: 5353, protocol: UDP}]}"))),
    ("dns-closed", (WEB, DB, DNS, DNS_SERVICE, egress(TO_DB, DNS_RULE))),
    ("dns-closed", (WEB, egress("{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}"))),
    ("dns-closed", (WEB, egress("{to: [{ipBlock: {cidr: 203.0.113.9/32}}]}"))),
    ("dns-closed", (WEB, policy("{podSelector: {}, policyTypes: [Ingress, Egress]}"))),
    ("dns-closed", (WEB, DB, egress(TO_DB), policy(
        f"{{podSelector: {{}}, policyTypes: [Egress], egress: [{DNS_RULE}]}}", "dns"))),
    ("dns-closed", (pod("web", "shop", "{app: web}", more=", dnsPolicy: None"), DB, egress(TO_DB))),
    ("dns-closed", (WEB, egress(
        "{to: [{namespaceSelector: {matchLabels: {name: kube-system}}}]}"))),
    ("ipblock-of-service", (WEB, service("{ports: [{port: 80}]}"),
                            egress("{to: [{ipBlock: {cidr: 10.96.0.0/12}}]}"))),
    ("ipblock-of-pod", (WEB, DB, ingress("{ipBlock: {cidr: 10.128.0.0/9}}"))),
    ("service-port", (DB, service("{selector: {app: db}, ports: [{port: 80, targetPort: 5432}]}"),
                      policy("{podSelector: {matchLabels: {app: db}}, "
                             "ingress: [{ports: [{port: 80}, {port: 5432}]}]}"))),
    ("exception-void", (DB, AGENT, ingress(
        "{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: "
        "NotIn, values: [ops]}]}}", "{podSelector: {}}"))),
    ("exception-void", (DB, WEB, AGENT, ingress(
        "{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: "
        "NotIn, values: [ops]}]}}"), policy(
            "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: "
            "{}}]}]}", "web"))),
    ("exception-void", (DB, ingress("{ipBlock: {cidr: 0.0.0.0/0, except: [10.1.0.0/16]}}",
                                    "{ipBlock: {cidr: 10.2.0.0/16}}"))),
    ("and-as-or", (DB, AGENT, WEB, space("ops", "{team: ops}"),
                   ingress("{namespaceSelector: {matchLabels: {team: ops}}}",
                           "{podSelector: {matchLabels: {app: web}}}"))),
    ("or-as-and", (DB, AGENT, ingress("{namespaceSelector: {matchLabels: "
                                      "{kubernetes.io/metadata.name: ops}}, "
                                      "podSelector: {matchLabels: {app: agent}}}"))),
    ("peer-elsewhere", (DB, WEB, ingress("{podSelector: {matchLabels: {app: web}}}"))),
    ("host-network-peer", (DB, WEB, pod("host", "shop", "{app: h}", more=", hostNetwork: true"),
                           ingress("{podSelector: {}}"))),
    ("missing-policy-types", (WEB, policy("{podSelector: {}, ingress: [{}], egress: [{}]}"))),
    ("missing-policy-types", (WEB, policy("{podSelector: {}}"))),
    ("missing-policy-types", (WEB, policy("{podSelector: {}, ingress: [], egress: null}"))),
    ("rules-switched-off", (WEB, policy("{podSelector: {}, policyTypes: [Ingress, Egress], "
                                        "ingress: [{}], egress: [{}]}"))),
    ("slice-without-service", (EXT, slices())),
    ("slice-port-name", (EXT, slices())),
    ("same-address", (service("{externalIPs: [203.0.113.9], ports: [{port: 80}]}"),
                      service("{externalIPs: [203.0.113.9], ports: [{port: 81}]}", "t"))),
    ("problem", (service("{type: NodePort, ports: [{port: 80, nodePort: 30080}]}"),
                 service("{type: NodePort, ports: [{port: 80, nodePort: 30081}]}", "t"))),
    ("headless-port", (DB, service("{clusterIP: None, selector: {app: db}, "
                                   "ports: [{port: 5432}]}"))),
    ("no-service-name", (sts(", serviceName: st"), HEADLESS)),
    ("one-family", (WEB, service("{selector: {app: web}, ports: [{port: 80}]}"))),
    ("affinity-masked", (service("{sessionAffinity: ClientIP, ports: [{port: 80}]}"),)),
    ("affinity-masked", (service("{type: NodePort, externalTrafficPolicy: Local, sessionAffinity: "
                                 "ClientIP, ports: [{port: 80}]}"),)),
    ("host-port-conflict", (daemon("a", "{containerPort: 80, hostPort: 80}"),
                            daemon("b", "{containerPort: 80, hostPort: 80, protocol: UDP}"))),
    ("masqueraded-clients", (NODES, pod("db", "shop", "{app: db}", 5432, ", nodeName: n1"),
                             service("{type: NodePort, externalTrafficPolicy: Local, selector: "
                                     "{app: db}, ports: [{port: 5432, nodePort: 30080}]}"),
                             ingress("{ipBlock: {cidr: 198.51.100.0/28}}"))),
    ("no-target-port", (DB, service("{selector: {app: db}, ports: [{port: 80}]}"))),
    ("target-port-undeclared", (DB, service("{selector: {app: db}, "
                                            "ports: [{port: 5432, protocol: UDP}]}"))),
)  # fmt: skip


@pytest.mark.parametrize(
    ("check", "objects"), SILENT, ids=[f"{n} {check}" for n, (check, _) in enumerate(SILENT)]
)
def test_who_did_it_right_is_not_told(check: str, objects: tuple[str, ...]) -> None:
    assert check not in {found.check for found in findings(objects)}


OTHERS = "{namespaceSelector: {matchLabels: {team: ops}}, podSelector: {matchLabels: {a: b}}}"
ROLLOUT = "apiVersion: argoproj.io/v1alpha1\n" + made(
    "Rollout",
    "web",
    "{selector: {matchLabels: {app: web}}, template: {metadata: {labels: "
    "{app: web}}, spec: {containers: [{name: c, image: x}]}}}",
)
PARTS = (
    ("policies alone", (policy("{podSelector: {matchLabels: {app: db}}}"),)),
    ("a peer in a namespace of other manifests", (DB, ingress(OTHERS))),
    ("a Service alone", (service("{selector: {app: db}, ports: [{port: 80}]}"),)),
    ("a default deny before there are pods", (policy("{podSelector: {}}"),)),
    ("a Service for clients of other manifests", (
        DB, service("{selector: {app: db}, ports: [{port: 5432}]}"), ingress(OTHERS))),
    ("peers that a Rollout may make", (
        DB, ROLLOUT, ingress("{podSelector: {matchLabels: {app: web}}}"))),
    ("peers elsewhere, or that a Rollout may make", (
        DB, AGENT, ROLLOUT, ingress("{podSelector: {matchLabels: {app: agent}}}"))),
    ("a policy for pods that a Rollout may make", (
        DB, ROLLOUT, policy("{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}"))),
    ("a Service for pods that a Rollout may make", (
        DB, ROLLOUT, service("{selector: {app: web}, ports: [{port: 80}]}"))),
    ("a port's name that a Rollout's pods may have", (
        DB, ROLLOUT, policy("{podSelector: {matchLabels: {app: db}}, "
                            "ingress: [{ports: [{port: sql}]}]}"),
        service("{selector: {app: db}, ports: [{port: 80, targetPort: sql}]}"))),
    ("DNS that a policy may open which cannot be read", (
        WEB, DB, egress(TO_DB), policy("{podSelector: {}, egress: {to: []}}", "typo"))),
    ("pods in a private ipBlock", (
        DB, WEB, service("{selector: {app: db}, ports: [{port: 5432}]}"),
        ingress("{ipBlock: {cidr: 10.42.0.0/16}}"))),
)  # fmt: skip


@pytest.mark.parametrize("objects", [o for _, o in PARTS], ids=[name for name, _ in PARTS])
def test_a_part_of_a_cluster_gets_notes_alone(objects: tuple[str, ...]) -> None:
    found = findings(objects)
    assert {each.severity for each in found if each.check != "problem"} <= {"note"}, found
    assert not any("remove" in each.message or "does nothing" in each.message for each in found)
