"""Which tracked flows have lost their endpoint."""

from ipaddress import ip_address, ip_network

from steppe.kube.cause import Cause, ObjectRef
from steppe.net.flow import Endpoints, Flow
from steppe.plan.flows import backends_of, fronts_met, fronts_of, stale_flows
from steppe.state.claim import Entry
from steppe.state.nft import Element, ElementKey

SERVICE, CLIENT = ip_address("10.96.0.10"), ip_address("10.244.1.5")
OLD, NEW = ip_address("10.244.2.5"), ip_address("10.244.3.5")
BECAUSE = (Cause(ObjectRef("EndpointSlice", "default", "dns-1")),)


def flow(answers, port=53, protocol="UDP", answer_port=5353) -> Flow:
    return Flow(
        protocol,
        Endpoints(CLIENT, 40000, SERVICE, port),
        Endpoints(answers, answer_port, CLIENT, 40000),
    )


def key(index: int, protocol: str = "udp") -> ElementKey:
    return ElementKey("endpoint4", (SERVICE, protocol, 53, index))


FRONT = ElementKey("service4", (SERVICE, "udp", 53))
STATE = {
    FRONT: Entry(Element(("spread-1",)), BECAUSE),
    key(0): Entry(Element((NEW, 5353)), BECAUSE),
    key(0, "tcp"): Entry(Element((NEW, 5353)), BECAUSE),
}


def test_a_flow_to_an_endpoint_that_went_is_stale_and_others_are_not() -> None:
    fronts = fronts_of([key(0), key(1), key(0, "tcp")])
    assert fronts == {(SERVICE, "udp", 53)}
    backends = backends_of(STATE, fronts)
    flows = [
        flow(OLD),
        flow(NEW),
        flow(SERVICE, answer_port=53),
        flow(NEW, answer_port=53),
        flow(OLD, port=54),
        flow(OLD, protocol="SCTP"),
    ]
    assert stale_flows(flows, backends) == (flows[0], flows[2], flows[3])


def test_a_frontend_without_endpoints_has_all_its_flows_ended() -> None:
    fronts = fronts_of([key(0)])
    backends = backends_of({FRONT: Entry(Element(("refuse",)), BECAUSE)}, fronts)
    flows = (flow(OLD), flow(SERVICE, answer_port=53))
    assert stale_flows(flows, backends) == flows


def test_an_address_that_is_no_frontend_any_more_answers_for_itself() -> None:
    backends = backends_of({}, fronts_of([key(0)]))
    assert stale_flows([flow(OLD), flow(SERVICE, answer_port=53)], backends) == (flow(OLD),)


def test_a_frontend_is_looked_at_when_its_rule_changes() -> None:
    assert fronts_of([FRONT]) == {(SERVICE, "udp", 53)}
    assert fronts_of([ElementKey("service4", (SERVICE, "tcp", 53))]) == set()
    assert backends_of(STATE, fronts_of([FRONT])) == {(SERVICE, "udp", 53): {(NEW, 5353)}}


def test_flows_to_a_service_that_is_gone_are_met_by_the_range_it_was_of() -> None:
    state = {ElementKey("service_range4", (ip_network("10.96.0.0/16"),)): Entry(Element(), BECAUSE)}
    elsewhere = Flow("UDP", Endpoints(CLIENT, 40000, NEW, 53), Endpoints(NEW, 53, CLIENT, 40000))
    fronts = fronts_met([flow(OLD), elsewhere], state)
    assert fronts == {(SERVICE, "udp", 53)}
    assert stale_flows([flow(OLD)], backends_of(state, fronts)) == (flow(OLD),)
