from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from steppe.kube.objects import Workload
from steppe.state.workload import ALIAS_LIMIT, alias, is_pod_link, link_name, parse_alias

label = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=63)
long_name = st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=253)
addresses = st.lists(
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), min_size=1, max_size=2
).map(tuple)


@given(label, long_name, addresses)
def test_an_alias_tells_the_workload_again(namespace: str, name: str, held: tuple) -> None:
    workload = Workload("stabcdefghij", namespace, name, "node-a", held, "0123456789abc/eth0")
    text = alias(workload)
    assert len(text.encode()) <= ALIAS_LIMIT
    again = parse_alias(text, "stabcdefghij", "node-a")
    assert again is not None
    assert (again.addresses, again.container) == (held, "0123456789abc/eth0")
    if len(namespace) + len(name) < 120:
        assert again == workload


def test_what_steppe_did_not_write_is_no_workload() -> None:
    for text in ("", "uplink", "default/", "/web", "to the router", "default/web not-an-address"):
        assert parse_alias(text, "stabcdefghij", "node-a") is None


@given(st.text(min_size=1))
def test_link_names_fit_and_are_recognised(uid: str) -> None:
    name = link_name(uid)
    assert len(name) <= 15
    assert is_pod_link(name)
    assert name != link_name(uid, "net1")


def test_steppes_own_device_is_no_pod_link() -> None:
    assert not is_pod_link("steppe-vxlan")


def test_addresses_in_an_alias_read_as_written() -> None:
    workload = Workload("st", "default", "web", "n", (ip_address("10.244.1.5"),), "abc/eth0")
    assert alias(workload) == "default/web 10.244.1.5 abc/eth0"
