import pytest

from steppe_lab.kubelet.config import DnsSettings
from steppe_lab.kubelet.hostfiles import hosts, resolv_conf
from steppe_lab.kubelet.records import DnsConfig, HostAlias, NameValue, Pod, PodMeta, PodSpec

META = PodMeta(name="web-1", namespace="shop", uid="u")
DNS = DnsSettings(nameservers=("10.96.0.10", "fd00::a"))
HOST = "search example.net\nsearch corp.example\nnameserver 192.0.2.53\noptions rotate\n"
CLUSTER = (
    "nameserver 10.96.0.10\nnameserver fd00::a\n"
    "search shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
)
OWN = DnsConfig(
    nameservers=("203.0.113.1", "10.96.0.10"),
    searches=("svc.cluster.local", "x.example"),
    options=(NameValue(name="ndots", value="2"), NameValue(name="edns0")),
)


@pytest.mark.parametrize(
    ("spec", "dns", "expected"),
    [
        (PodSpec(), DNS, CLUSTER),
        (PodSpec(host_network=True), DNS, None),
        (PodSpec(host_network=True, dns_policy="ClusterFirstWithHostNet"), DNS, CLUSTER),
        (PodSpec(dns_policy="Default"), DNS, None),
        (PodSpec(), DnsSettings(), None),
        (
            PodSpec(dns_policy="None", dns_config=OWN),
            DNS,
            (
                "nameserver 203.0.113.1\nnameserver 10.96.0.10\n"
                "search svc.cluster.local x.example\noptions ndots:2 edns0\n"
            ),
        ),
        (
            PodSpec(dns_config=OWN),
            DNS,
            (
                "nameserver 10.96.0.10\nnameserver fd00::a\nnameserver 203.0.113.1\n"
                "search shop.svc.cluster.local svc.cluster.local cluster.local x.example\n"
                "options ndots:2 edns0\n"
            ),
        ),
        (PodSpec(dns_policy="None"), DNS, ""),
    ],
)
def test_resolv_conf_follows_the_policy(
    spec: PodSpec, dns: DnsSettings, expected: str | None
) -> None:
    default = "nameserver 192.0.2.53\nsearch corp.example\noptions rotate\n"
    text = resolv_conf(Pod(metadata=META, spec=spec), dns, HOST)
    assert text == (default if expected is None else expected)


def test_hosts_names_the_pod_by_every_address_and_its_aliases() -> None:
    spec = PodSpec(
        subdomain="sub", host_aliases=(HostAlias(ip="203.0.113.9", hostnames=("a", "b")),)
    )
    text = hosts(Pod(metadata=META, spec=spec), ("10.0.0.2", "fd00::2"), "cluster.local")
    assert "127.0.0.1\tlocalhost\n" in text
    assert "10.0.0.2\tweb-1.sub.shop.svc.cluster.local\tweb-1\n" in text
    assert "fd00::2\tweb-1.sub.shop.svc.cluster.local\tweb-1\n" in text
    assert text.endswith("203.0.113.9\ta\tb\n")
