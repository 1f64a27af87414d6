"""Services and EndpointSlices for property tests: few names and addresses, so that they clash."""

from ipaddress import ip_address, ip_network

from hypothesis import strategies as st

from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from tests.worlds import NAMES

SERVICES = ("web", "db", "dns")
SLICES = ("web-1", "web-2", "db-1", "dns-1")
POD_ADDRESSES = tuple(
    ip_address(text)
    for text in ("10.244.1.5", "10.244.1.6", "10.244.2.5", "fd00:1::5", "fd00:1::6", "fd00:2::5")
)
ZONES = ("", "za", "zb")
# Addresses of nodes, pods and Services, which a Service may name and must not take.
SOMEBODYS = ("192.0.2.11", "192.0.2.12", "10.244.1.7", "10.244.2.5", "10.96.0.11", "fd00:10:96::c")

ports = st.sampled_from(
    [
        (ServicePort("http", "TCP", 80),),
        (ServicePort("http", "TCP", 80, 30080), ServicePort("dns", "UDP", 53)),
        (ServicePort("dns", "UDP", 53, 30053), ServicePort("dns-tcp", "TCP", 53, 30053)),
        (ServicePort("assoc", "SCTP", 3868),),
    ]
)


def _some(texts: list[str]) -> st.SearchStrategy:
    return st.lists(st.sampled_from(texts), max_size=2, unique=True).map(
        lambda chosen: tuple(map(ip_address, chosen))
    )


def services() -> st.SearchStrategy[Service]:
    return st.builds(
        Service,
        namespace=st.just("default"),
        name=st.sampled_from(SERVICES),
        created=st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
        cluster_ips=st.sampled_from(
            [
                (),
                (ip_address("10.96.0.10"),),
                (ip_address("10.96.0.11"), ip_address("fd00:10:96::b")),
                (ip_address("fd00:10:96::c"),),
            ]
        ),
        ports=ports,
        external_ips=_some(["203.0.113.80", "2001:db8:f::80", *SOMEBODYS]),
        load_balancer_ips=_some(["198.18.0.5", "198.18.0.6", "2001:db8:f::5", *SOMEBODYS]),
        source_ranges=st.sampled_from(
            [(), (ip_network("203.0.113.0/25"),), (ip_network("2001:db8:f::/64"),)]
        ),
        restricted=st.booleans(),
        internal_local=st.booleans(),
        external_local=st.booleans(),
        distribution=st.sampled_from(["", "PreferClose", "PreferSameZone", "PreferSameNode"]),
    )


endpoints = st.builds(
    Endpoint,
    address=st.sampled_from(POD_ADDRESSES),
    node=st.sampled_from([*NAMES[:2], ""]),
    ready=st.booleans(),
    serving=st.booleans(),
    terminating=st.booleans(),
    zones=st.sampled_from([(), ("za",), ("zb",)]),
    nodes=st.sampled_from([(), NAMES[:1], NAMES[1:2]]),
)


def slices() -> st.SearchStrategy[EndpointSlice]:
    return st.builds(
        EndpointSlice,
        namespace=st.just("default"),
        name=st.sampled_from(SLICES),
        service=st.sampled_from(SERVICES),
        ports=st.sampled_from(
            [
                (("http", "TCP", 8080),),
                (("http", "TCP", 8080), ("dns", "UDP", 5353)),
                (("dns", "UDP", 53), ("dns-tcp", "TCP", 53)),
                (("assoc", "SCTP", 3868),),
            ]
        ),
        endpoints=st.lists(endpoints, max_size=4).map(tuple),
    )
