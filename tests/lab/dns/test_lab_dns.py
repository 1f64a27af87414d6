"""A whole lab: pods find Services by name, with the C library's own resolver."""

import json

import pytest

from tests.lab.conftest import ECHO
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

WEB = [
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"web-{letter}", "labels": {"app": "web"}},
        "spec": {
            "nodeName": f"node-{letter}",
            "hostname": f"web-{letter}",
            "subdomain": "peers",
            "containers": [ECHO],
        },
    }
    for letter in "ab"
]
SERVICES = [
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": {"app": "web"},
            "ipFamilyPolicy": "PreferDualStack",
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
            **spec,
        },
    }
    for name, spec in (("db", {}), ("peers", {"clusterIP": "None"}))
]
RESOLVE = """
import json, socket, sys
found = socket.getaddrinfo(sys.argv[1], 80, type=socket.SOCK_STREAM)
print(json.dumps(sorted(each[4][0] for each in found)))
"""


@pytest.mark.parametrize("family", ["dual", "ipv6"])
def test_pods_find_services_by_name(make_lab, family) -> None:
    lab = make_lab("dns", "--nodes", "2", "--family", family, pods=[*WEB, *SERVICES])

    def addresses(name: str) -> list[str]:
        done = lab.steppe("exec", "web-a", "--", "/usr/bin/env", "python3", "-c", RESOLVE, name)
        return json.loads(done.stdout) if done.returncode == 0 else []

    def field(kind: str, name: str, path: str) -> list[str]:
        return json.loads(lab.kubectl("get", kind, name, "-o", f"jsonpath={path}"))

    cluster_ips = sorted(field("service", "db", "{.spec.clusterIPs}"))
    for name in ("db", "db.default", "db.default.svc.cluster.local", "DB.default.svc"):
        assert addresses(name) == cluster_ips
    pods = {
        name: sorted(each["ip"] for each in field("pod", name, "{.status.podIPs}"))
        for name in ("web-a", "web-b")
    }
    both = sorted(pods["web-a"] + pods["web-b"])
    until(lambda: addresses("peers") == both, 10, "both pods are behind the headless Service")
    assert addresses("web-b.peers") == pods["web-b"]
    assert addresses("nothing") == []
    servers = json.loads((lab.root / "nodes.json").read_bytes())["nodes"][1]["nameservers"]
    assert lab.steppe("exec", "web-b", "--", "cat", "/etc/resolv.conf").stdout.splitlines() == [
        *(f"nameserver {address}" for address in servers),
        "search default.svc.cluster.local svc.cluster.local cluster.local",
        "options ndots:5",
    ]

    assert lab.steppe("restart", "dns").returncode == 0
    until(lambda: addresses("db") == cluster_ips, 10, "DNS answers after a restart")
    assert lab.steppe("status").returncode == 0
    assert "Traceback" not in (lab.root / "log" / "dns.log").read_text()
