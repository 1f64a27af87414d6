"""What the agent makes of a request and of its own results, without a kernel."""

import contextlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from steppe.agent.cni.request import Request, owner_word, request_from
from steppe.agent.cni.result import add_result, expected_link, faults_of_previous
from steppe.cni.plugin import CniError
from steppe.net.address import parse_address
from steppe.state.workload import ALIAS_LIMIT, alias, link_name, parse_alias

ADDRESSES = (parse_address("10.244.1.5"), parse_address("fd00:10:244:1::5"))
ENV = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/x",
    "CNI_IFNAME": "eth0",
    "CNI_ARGS": "K8S_POD_NAME=web;K8S_POD_NAMESPACE=default;K8S_POD_UID=u1",
}
CONFIG = {"cniVersion": "1.1.0", "name": "steppe", "type": "steppe", "socket": "/s"}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def request(env: dict[str, str] | None = None, **config: Any) -> Request:
    return request_from({"env": ENV | (env or {}), "config": CONFIG | config})


def test_a_request_is_read() -> None:
    read = request()
    assert (read.link, read.owner, read.pod) == (link_name("u1"), "c1/eth0", "default/web")


def test_without_a_pod_the_container_gives_the_name() -> None:
    read = request({"CNI_ARGS": ""})
    assert read.link == link_name("c1")
    assert read.pod == ""
    workload = read.workload("node-a", ADDRESSES)
    assert parse_alias(alias(workload), workload.link, "node-a") == workload


@given(
    st.sampled_from(["env", "config"]),
    st.sampled_from([*ENV, *CONFIG, "prevResult", "dns", "ipam", "cni.dev/valid-attachments"]),
    json_values,
    st.sampled_from(["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", ""]),
)
@example("env", "CNI_ARGS", "0", "GC")
def test_nonsense_is_a_cni_error_and_nothing_else(
    part: str, key: str, value: Any, command: str
) -> None:
    document = {"env": ENV | {"CNI_COMMAND": command, "CNI_PATH": "/x"}, "config": dict(CONFIG)}
    document[part][key] = value
    with contextlib.suppress(CniError):
        assert request_from(document).command == document["env"]["CNI_COMMAND"]


@pytest.mark.parametrize("document", [{}, {"env": [], "config": {}}, {"env": {"CNI_COMMAND": 1}}])
def test_a_request_that_is_none_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(CniError):
        request_from(document)


@pytest.mark.parametrize("name", ["a b", "Web", "x\ny", "../x", "-a", "a" * 254])
def test_a_name_that_no_pod_can_have_is_refused(name: str) -> None:
    with pytest.raises(CniError, match="no pod's name") as caught:
        request({"CNI_ARGS": f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={name}"})
    assert caught.value.code == 4


def test_del_reads_no_memory_of_the_add() -> None:
    assert request({"CNI_COMMAND": "DEL"}, prevResult={"ips": 7}).previous is None
    with pytest.raises(CniError, match="prevResult"):
        request(prevResult={"ips": 7})


def test_long_names_fit_into_the_alias_and_stay_apart() -> None:
    args = f"K8S_POD_NAMESPACE={'n' * 63};K8S_POD_NAME={'p' * 253};K8S_POD_UID=u"
    ids = ["f" * 64, "f" * 63 + "e"]
    made = [
        request({"CNI_ARGS": args, "CNI_CONTAINERID": one}).workload("node-a", ADDRESSES)
        for one in ids
    ]
    texts = [alias(workload) for workload in made]
    assert all(len(text) <= ALIAS_LIMIT for text in texts)
    read = [parse_alias(text, "st", "node-a") for text in texts]
    assert [one and one.container for one in read] == [owner_word(one, "eth0") for one in ids]
    assert texts[0] != texts[1]


@given(st.text("abc-_.019", min_size=1, max_size=80), st.text("abc-_.019", min_size=1, max_size=80))
def test_two_containers_have_two_owner_words(one: str, other: str) -> None:
    assert (owner_word(one, "eth0") == owner_word(other, "eth0")) == (one == other)
    assert len(owner_word(one, "x" * 15)) <= 40


def test_check_accepts_the_answer_of_add() -> None:
    asked = request()
    result = add_result(asked, asked.workload("node-a", ADDRESSES), 1450)
    check = request({"CNI_COMMAND": "CHECK"}, prevResult=result)
    assert list(faults_of_previous(check, asked.workload("node-a", ADDRESSES))) == []
    assert expected_link(check, asked.workload("node-a", ADDRESSES), 9) == (
        result["interfaces"][1]["mac"],
        1450,
    )


def test_check_tells_what_the_answer_no_longer_matches() -> None:
    workload = request().workload("node-a", ADDRESSES)
    empty = request({"CNI_COMMAND": "CHECK"}, prevResult={"interfaces": None, "ips": []})
    faults = "; ".join(faults_of_previous(empty, workload))
    for word in (workload.link, "eth0", *map(str, ADDRESSES)):
        assert word in faults


def test_the_configurations_dns_comes_back() -> None:
    asked = request(dns={"nameservers": ["192.0.2.53"]})
    result = add_result(asked, asked.workload("node-a", ADDRESSES), 1450)
    assert result["dns"] == {"nameservers": ["192.0.2.53"]}
