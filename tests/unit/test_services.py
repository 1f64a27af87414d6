"""Services as the wire has them: nonsense is a Problem, and a guard fails closed."""

import msgspec
import pytest

from steppe.kube import service_wire as wire
from steppe.kube.services import service_from


def seen(**spec: object) -> wire.Service:
    document = {
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.10",
            "ports": [{"name": "http", "port": 80}],
            **spec,
        },
    }
    return msgspec.convert(document, wire.Service)


@pytest.mark.parametrize(
    ("ranges", "kept", "restricted", "problems"),
    [
        (None, [], False, 0),
        ([], [], False, 0),
        (["203.0.113.0/25"], ["203.0.113.0/25"], True, 0),
        ([" 203.0.113.0/25 "], ["203.0.113.0/25"], True, 0),
        (["nonsense", "203.0.113.0/25"], ["203.0.113.0/25"], True, 1),
        (["nonsense"], [], True, 1),
    ],
)
def test_source_ranges_let_nobody_in_where_they_cannot_be_read(
    ranges, kept, restricted, problems
) -> None:
    service, found = service_from(seen(loadBalancerSourceRanges=ranges))
    assert [str(prefix) for prefix in service.source_ranges] == kept
    assert service.restricted is restricted
    assert len(found) == problems


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("externalIPs", ["0.0.0.0"]),
        ("externalIPs", ["127.0.0.1"]),
        ("externalIPs", ["::"]),
        ("externalIPs", ["not-an-address"]),
        ("ports", [{"name": "http", "port": 0}]),
        ("ports", [{"name": "http", "port": 80, "protocol": "ICMP"}]),
    ],
)
def test_nonsense_is_a_problem_and_is_not_served(field: str, value: list[object]) -> None:
    service, problems = service_from(seen(**{field: value}))
    assert len(problems) == 1
    assert not (service.external_ips if field == "externalIPs" else service.ports)


@pytest.mark.parametrize("cluster_ip", ["", "None"])
def test_a_headless_service_asks_nothing_of_the_data_path(cluster_ip: str) -> None:
    service, problems = service_from(seen(clusterIP=cluster_ip))
    assert (service.cluster_ips, service.ports, problems) == ((), (), ())
