"""Which tracked flows have lost their endpoint."""

from ipaddress import ip_address, ip_network

from steppe.dataplane.nft.services import frontends_behind
from steppe.dataplane.nft.sets import ENDPOINT, SERVICE
from steppe.kube.cause import Cause, ObjectRef
from steppe.net.flow import Endpoints, Flow
from steppe.plan.flows import ENDED, answering, frontends_within, stale_flows
from steppe.service.table import Backend, Backends, Frontend

DNS, CLIENT = ip_address("10.96.0.10"), ip_address("10.244.1.5")
OLD, NEW = ip_address("10.244.2.5"), ip_address("10.244.3.5")
BECAUSE = Cause(ObjectRef("EndpointSlice", "default", "dns-1"))
FRONT, OVER_TCP = Frontend(DNS, "UDP", 53), Frontend(DNS, "TCP", 53)
BACKENDS = (Backend(NEW, 5353, BECAUSE),)
SERVED = {FRONT: Backends(BECAUSE, BACKENDS, BACKENDS, refuse=False)}


def flow(answers, port=53, protocol="UDP", answer_port=5353) -> Flow:
    return Flow(
        protocol,
        Endpoints(CLIENT, 40000, DNS, port),
        Endpoints(answers, answer_port, CLIENT, 40000),
    )


def test_a_flow_to_an_endpoint_that_went_is_stale_and_others_are_not() -> None:
    answers = answering([FRONT], SERVED)
    flows = [
        flow(OLD),
        flow(NEW),
        flow(DNS, answer_port=53),
        flow(NEW, answer_port=53),
        flow(OLD, port=54),
        flow(OLD, protocol="SCTP"),
    ]
    assert stale_flows(flows, answers) == (flows[0], flows[2], flows[3])


def test_a_frontend_without_endpoints_has_all_its_flows_ended() -> None:
    answers = answering([FRONT], {FRONT: Backends(BECAUSE, (), (), refuse=True)})
    flows = (flow(OLD), flow(DNS, answer_port=53))
    assert stale_flows(flows, answers) == flows


def test_an_endpoint_for_senders_outside_alone_may_answer_as_well() -> None:
    there = (Backend(OLD, 5353, BECAUSE),)
    answers = answering([FRONT], {FRONT: Backends(BECAUSE, BACKENDS, there, False, local=True)})
    assert stale_flows([flow(OLD), flow(NEW)], answers) == ()


def test_an_address_that_is_no_frontend_any_more_answers_for_itself() -> None:
    answers = answering([FRONT], {})
    assert stale_flows([flow(OLD), flow(DNS, answer_port=53)], answers) == (flow(OLD),)


def test_a_frontend_is_looked_at_when_its_rule_or_its_endpoints_change() -> None:
    for key in (SERVICE.key(FRONT), ENDPOINT.key(FRONT, 7)):
        assert frontends_behind([key], ENDED) == {FRONT}
    over_tcp = [SERVICE.key(OVER_TCP), ENDPOINT.key(OVER_TCP, 0)]
    assert frontends_behind(over_tcp, ENDED) == set()


def test_flows_to_a_service_that_is_gone_are_met_by_the_range_it_was_of() -> None:
    elsewhere = Flow("UDP", Endpoints(CLIENT, 40000, NEW, 53), Endpoints(NEW, 53, CLIENT, 40000))
    fronts = frontends_within([flow(OLD), elsewhere], [ip_network("10.96.0.0/16")])
    assert fronts == {FRONT}
    assert stale_flows([flow(OLD)], answering(fronts, {})) == (flow(OLD),)
