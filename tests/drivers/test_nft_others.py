"""Others' rules that drop, as audit lists them; Steppe's own table is never looked into."""

from pathlib import Path

import pytest

from steppe.drivers.netlink.netns import call_in
from steppe.drivers.nftables.others import Dropping, dropping
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
        jump inner
    }
}
table ip6 web {
    chain in {
        type filter hook input priority 0;
        tcp dport 8080 reject
    }
}
table ip counts {
    chain out {
        type filter hook output priority 0;
        counter
    }
}
"""

FORWARD = [
    Dropping("inet firewall forward", "forward", "policy drop"),
    Dropping("inet firewall inner", "forward", 'ip saddr @bad drop comment "known to be bad"'),
    Dropping(
        "inet firewall innermost",
        "forward",
        "ip daddr vmap { 192.0.2.1 : drop, 192.0.2.2 : accept }",
    ),
    Dropping("ip6 web in", "input", "tcp dport 8080 reject"),
]


def others(namespace: Namespace) -> list[Dropping]:
    found = call_in(namespace.fd, lambda: dropping(("inet", "steppe")))
    # Legacy iptables' tables are in use where a machine's modules say so.
    return sorted(each for each in found if each.hook != "any")


def test_what_drops_at_a_hook_is_listed_and_nothing_else(node: Namespace, tmp_path: Path) -> None:
    assert others(node) == []
    (tmp_path / "rules.nft").write_text(RULES)
    node.run("nft", "-f", str(tmp_path / "rules.nft"))
    assert others(node) == FORWARD
