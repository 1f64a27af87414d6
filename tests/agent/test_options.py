"""What the agent's command line makes of what people write."""

from ipaddress import ip_network

import pytest

from steppe.agent.health.proxy_health import Place
from steppe.agent.options import parse


def test_node_ports_are_served_everywhere_or_where_the_operator_says() -> None:
    def served(*arguments: str) -> object:
        return parse(["--node", "n", *arguments]).settings.node_port_addresses

    assert served() == served("--node-port-addresses=") == ()
    assert served("--node-port-addresses=primary") == "primary"
    both = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
    assert served("--node-port-addresses=192.0.2.1/24, 2001:db8::/32") == both


def test_what_objects_may_ask_for_is_the_operators_to_say() -> None:
    chosen = parse(["--node", "n"]).settings
    assert (chosen.pod_ranges, chosen.external_ips) == ((), "warn")
    given = ["--pod-ranges=10.244.0.0/16,fd00::/48", "--external-ips=deny"]
    chosen = parse(["--node", "n", *given]).settings
    assert chosen.pod_ranges == (ip_network("10.244.0.0/16"), ip_network("fd00::/48"))
    assert chosen.external_ips == "deny"


def test_load_balancers_may_ask_on_every_address_by_default() -> None:
    def place(*arguments: str) -> Place | None:
        return parse(["--node", "n", *arguments]).proxy_health_listen

    assert place() == Place("", 10256)
    assert place("--proxy-health-listen=[::1]:80") == Place("::1", 80)
    assert place("--proxy-health-listen=") is None


def test_the_proxy_mode_is_told_where_kube_proxy_tells_it_unless_switched_off() -> None:
    assert parse(["--node", "n"]).proxy_mode_port == 10249
    assert parse(["--node", "n", "--proxy-mode-port=0"]).proxy_mode_port == 0


@pytest.mark.parametrize(
    "argument",
    [
        "--proxy-mode-port=65536",
        "--proxy-mode-port=:1",
        "--node-port-addresses=192.0.2.1",
        "--node-port-addresses=primary,192.0.2.0/24",
        "--pod-ranges=10.244.0.0",
        "--proxy-health-listen=10.0.0.1",
        "--proxy-health-listen=:http",
        "--proxy-health-listen=:0",
    ],
)
def test_nonsense_is_reported_in_a_sentence(
    argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--node", "n", argument])
    assert ended.value.code == 2
    assert "; give " in capsys.readouterr().err
