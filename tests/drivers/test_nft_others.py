"""Others' packet rules, as audit lists them; Steppe's own table is never looked into."""

from pathlib import Path

import pytest

from steppe.drivers.netlink.netns import call_in
from steppe.drivers.nftables import legacy
from steppe.drivers.nftables.expressions import does, target
from steppe.drivers.nftables.others import packet_rules
from steppe.net.address import parse_prefix
from steppe.state.surroundings import Matching, PacketRule
from tests.drivers.conftest import Namespace

pytestmark = pytest.mark.kernel

RULES = """
table inet steppe {
    chain forward { type filter hook forward priority 0; policy drop; }
}
table inet firewall {
    set bad { type ipv4_addr; elements = { 192.0.2.66 }; }
    chain innermost {
        ip daddr vmap { 192.0.2.1 : drop, 192.0.2.2 : accept }
    }
    chain inner {
        ip saddr @bad drop comment "known to be bad"
        goto innermost
    }
    chain nobody-gets-here {
        drop
    }
    chain forward {
        type filter hook forward priority -10; policy drop;
        tcp dport 80 accept
        iifname "eth7" jump inner
    }
}
table ip6 web {
    chain in {
        type filter hook input priority 0;
        ip6 saddr { fc99::1, fd00::/8 } tcp dport { 8080, 9000-9010 } reject
        ip6 nexthdr ipv6-icmp drop
    }
}
table ip nat {
    chain out {
        type nat hook postrouting priority 100;
        ip saddr 10.0.0.0/8 oifname "eth0" counter masquerade
        ip saddr != 10.0.0.0/8 snat to 192.0.2.9
    }
    chain pre {
        type nat hook prerouting priority -100;
        ip daddr 10.96.0.10 udp dport 53 dnat to 192.0.2.53:53
    }
    chain raw {
        type filter hook prerouting priority -300;
        ip daddr 10.96.0.10 notrack
        meta mark set mark or 0x10
        meta mark set 0x1
    }
}
table ip asleep {
    flags dormant
    chain forward { type filter hook forward priority 0; policy drop; }
}
table ip counts {
    chain out {
        type filter hook output priority 0;
        counter
    }
}
"""
ALL = 0xFFFFFFFF
SINK = tuple(map(parse_prefix, ("10.96.0.10/32",)))
TEN = (parse_prefix("10.0.0.0/8"),)
FD = tuple(map(parse_prefix, ("fc99::1/128", "fd00::/8")))
PORTS = ((8080, 8080), (9000, 9010))
BAD = 'ip saddr @bad drop comment "known to be bad"'
VMAP = "ip daddr vmap { 192.0.2.1 : drop, 192.0.2.2 : accept }"
WEB = "ip6 saddr { fc99::1, fd00::/8 } tcp dport { 8080, 9000-9010 } reject"
BY_ETH7 = Matching(iif="eth7", partial=True)
FOUND = [
    ("inet firewall forward", "policy drop", "drop", Matching(partial=True)),
    ("inet firewall inner", BAD, "drop", Matching(4, iif="eth7", partial=True)),
    ("inet firewall innermost", VMAP, "drop", BY_ETH7),
    (
        "ip nat out",
        'ip saddr 10.0.0.0/8 oifname "eth0" masquerade',
        "snat",
        Matching(4, TEN, oif="eth0"),
    ),
    ("ip nat out", "ip saddr != 10.0.0.0/8 snat to 192.0.2.9", "snat", Matching(4, partial=True)),
    (
        "ip nat pre",
        "ip daddr 10.96.0.10 udp dport 53 dnat to 192.0.2.53:53",
        "dnat",
        Matching(4, destinations=SINK, protocol="udp", ports=((53, 53),)),
    ),
    ("ip nat raw", "ip daddr 10.96.0.10 notrack", "notrack", Matching(4, destinations=SINK)),
    ("ip nat raw", "meta mark set 0x00000001", "mark", Matching(4)),
    ("ip nat raw", "meta mark set meta mark | 0x00000010", "mark", Matching(4)),
    ("ip6 web in", "ip6 nexthdr ipv6-icmp drop", "drop", Matching(6, protocol="icmp")),
    ("ip6 web in", WEB, "reject", Matching(6, FD, protocol="tcp", ports=PORTS)),
]


def rules(namespace: Namespace) -> list[PacketRule]:
    found = call_in(namespace.fd, lambda: packet_rules(("inet", "steppe")))
    return sorted(found, key=lambda rule: (rule.chain, rule.text))


def test_what_does_more_than_let_pass_is_listed_with_what_it_takes(
    node: Namespace, tmp_path: Path
) -> None:
    assert rules(node) == []
    (tmp_path / "rules.nft").write_text(RULES)
    node.run("nft", "-f", str(tmp_path / "rules.nft"))
    found = rules(node)
    told = {(rule.chain, rule.text, rule.does): rule.matching for rule in found}
    assert told == {row[:3]: row[3] for row in FOUND}
    bits = {rule.text: rule.bits for rule in found if rule.does == "mark"}
    assert bits == {"meta mark set 0x00000001": ALL, "meta mark set meta mark | 0x00000010": 0x10}


LEGACY = (
    "-N MINE",
    "-A FORWARD -i eth0 -s 10.244.1.0/24 -j MINE",
    "-A MINE -p tcp -m tcp --dport 8080:8090 -m comment --comment mine -j DROP",
    "-A MINE -m mark --mark 1 -j REJECT",
    "-A INPUT -p udp ! -s 10.0.0.0/8 -j ACCEPT",
    "-P OUTPUT DROP",
    "-t nat -A POSTROUTING -o eth+ -j MASQUERADE",
    "-t nat -N KUBE-KUBELET-CANARY",
)
POD = (parse_prefix("10.244.1.0/24"),)


def test_of_a_chain_with_several_ways_there_each_is_told_by_either_variant(
    node: Namespace, tmp_path: Path
) -> None:
    (tmp_path / "rules.nft").write_text("""table ip two {
        chain inner { udp dport 53 drop; }
        chain forward {
            type filter hook forward priority 0;
            iifname "eth1" jump inner
            iifname "eth2" jump inner
        }
    }""")
    node.run("nft", "-f", str(tmp_path / "rules.nft"))
    for words in (
        "-N INNER",
        "-A INNER -p udp -m udp --dport 53 -j DROP",
        "-A FORWARD -i eth1 -j INNER",
        "-A FORWARD -i eth2 -j INNER",
    ):
        node.run("iptables-legacy", *words.split(" "))
    wanted = [Matching(4, protocol="udp", ports=((53, 53),), iif=f"eth{n}") for n in (1, 2)]
    for found in (rules(node), call_in(node.fd, legacy.packet_rules)):
        assert sorted((rule.matching for rule in found), key=lambda each: each.iif) == wanted


def test_rules_of_iptables_legacy_are_read_as_its_own_program_shows_them(node: Namespace) -> None:
    assert call_in(node.fd, legacy.packet_rules) == ()
    for command in LEGACY:
        node.run("iptables-legacy", *command.split(" "))
    six = "-d fd00::/8 -p udp -m udp --dport 53 -j DROP"
    node.run("ip6tables-legacy", "-A", "FORWARD", *six.split(" "))
    found = {(rule.chain, rule.text): rule for rule in call_in(node.fd, legacy.packet_rules)}
    what = '-p tcp -m tcp --dport 8080:8090 -m comment --comment "mine" -j DROP'
    assert {key: (rule.hook, rule.does) for key, rule in found.items()} == {
        ("iptables-legacy filter MINE", what): ("forward", "drop"),
        ("iptables-legacy filter MINE", "-m mark -j REJECT"): ("forward", "reject"),
        ("iptables-legacy filter OUTPUT", "policy drop"): ("output", "drop"),
        ("iptables-legacy nat POSTROUTING", "-o eth+ -j MASQUERADE"): ("postrouting", "snat"),
        ("ip6tables-legacy filter FORWARD", six): ("forward", "drop"),
    }
    mine = found["iptables-legacy filter MINE", what].matching
    assert mine == Matching(4, POD, protocol="tcp", ports=((8080, 8090),), iif="eth0")
    assert found["iptables-legacy nat POSTROUTING", "-o eth+ -j MASQUERADE"].matching.oif == "eth*"
    assert found["iptables-legacy filter MINE", "-m mark -j REJECT"].matching.partial


@pytest.mark.parametrize(
    ("name", "word"),
    [("SNPT", "snat"), ("DNPT", "dnat"), ("SYNPROXY", "dnat"), ("HMARK", "mark"), ("LOG", "")],
)
def test_a_target_of_iptables_does_the_same_in_either_variant(name: str, word: str) -> None:
    assert does([{"xt": {"type": "target", "name": name}}]) == target(name) == word
