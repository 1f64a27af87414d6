"""Generated input for BGP: objects as the API may hold them, hostile texts among them."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import strategies as st

from steppe.bgp import wire
from steppe.bgp.compile import BgpWorld, compile_bgp
from steppe.bgp.objects import peer_from, settings_from
from steppe.bgp.tables import BgpTables
from steppe.bgp.text import is_password
from steppe.kube.cause import Problem
from steppe.kube.objects import Node
from tests.worlds import node_at

BIRD = shutil.which("bird", path="/usr/sbin:/usr/local/sbin:/sbin:/usr/bin:/usr/local/bin")
needs_bird = pytest.mark.skipif(BIRD is None, reason="bird is not installed: apt install bird2")

HOSTILE = (
    *('";', '"; }', "}\nprotocol bgp x {", "# ", "/* ", "*/", "\\", "\0", "'", "node'; include"),
    *('include "/etc/shadow";', "\N{LINE SEPARATOR}", "é", "\ud800", "", " ", "*", "?", "eth0*"),
    *("a" * 300, "../..", "0.0.0.0/0{0,32}", "$(id)", "`id`", "filter", "router id", "%n%n"),
)
texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40))
names = st.one_of(st.sampled_from(("tor-a", "tor.b", "a" * 63)), texts)
addresses = st.one_of(
    st.sampled_from(("192.0.2.254", "2001:db8::fe", "198.51.100.1", "fe80::1", "::", "192.0.2.11")),
    texts,
)
numbers = st.one_of(st.sampled_from((0, 1, 64512, 65001, 4294967295, -1)), st.integers())
prefixes = st.one_of(st.sampled_from(("10.0.0.0/8", "::/0", "0.0.0.0/0", "fd00::/8")), texts)
rules = st.fixed_dictionaries(
    {"prefix": prefixes},
    optional={
        "minLength": st.integers(-1, 129),
        "maxLength": st.integers(-1, 129),
        "action": st.one_of(st.sampled_from(("Accept", "Reject")), texts),
    },
)
selectors = st.one_of(
    st.none(),
    st.just({"matchLabels": {"rr": "yes"}}),
    st.fixed_dictionaries({"matchLabels": st.dictionaries(texts, texts, max_size=2)}),
)
communities = st.one_of(st.sampled_from(("64512:100", "65535:0", "1:2:3", "70000:1")), texts)
peers = st.fixed_dictionaries(
    {"asn": numbers},
    optional={
        "address": addresses,
        "interface": st.one_of(st.sampled_from(("eth0", "bond0.7")), texts),
        "nodes": selectors,
        "passwordKey": st.one_of(st.sampled_from(("tor", "other")), texts),
        "bfd": st.booleans(),
        "hops": numbers,
        "import": st.lists(rules, max_size=3),
        "export": st.lists(rules, max_size=3),
        "communities": st.lists(communities, max_size=3),
    },
)
settings = st.fixed_dictionaries(
    {},
    optional={
        "asn": numbers,
        "mesh": st.booleans(),
        "reflectors": selectors,
        "announce": st.lists(st.one_of(st.sampled_from(("Pods", "ClusterIPs")), texts)),
        "passwordKey": st.one_of(st.sampled_from(("tor", "other")), texts),
        "gracefulRestartSeconds": numbers,
    },
)
secrets = st.dictionaries(st.sampled_from(("tor", "other")), texts)


def bgp_peer(name: str, **spec: object) -> wire.BGPPeer:
    return msgspec.convert({"metadata": {"name": name}, "spec": spec}, wire.BGPPeer)


def bgp_settings(**spec: object) -> wire.BGPSettings:
    return msgspec.convert({"metadata": {"name": "default"}, "spec": spec}, wire.BGPSettings)


def labelled(node: Node, **labels: str) -> Node:
    return msgspec.structs.replace(node, labels=labels)


def tables_of(
    nodes: Sequence[Node],
    routers: Sequence[wire.BGPPeer] = (),
    settings: wire.BGPSettings | None = None,
    passwords: dict[str, str] | None = None,
    here: int = 0,
) -> tuple[BgpTables, tuple[Problem, ...]]:
    """One node's tables and all Problems, those of the objects too."""
    read = [peer_from(each) for each in routers]
    checked, problems = settings_from(settings or bgp_settings())
    usable = {key for key, text in (passwords or {}).items() if is_password(text)}
    tables, more = compile_bgp(
        BgpWorld(
            here=nodes[here],
            nodes=tuple(nodes),
            settings=checked,
            routers=tuple(peer for peer, _ in read),
            passwords=frozenset(usable),
        )
    )
    of_peers = (problem for _, found in read for problem in found)
    return tables, (*problems, *of_peers, *more)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[BgpTables, dict[str, str]]:
    """Tables of one node, and the passwords that the agent would find."""
    count = draw(st.integers(1, 4))
    nodes = [node_at(i, draw(st.integers(0, 1)), draw(FAMILIES)) for i in range(count)]
    nodes = [labelled(n, rr="yes") if draw(st.booleans()) else n for n in nodes]
    nodes[0] = msgspec.structs.replace(nodes[0], name=draw(names))
    given = draw(secrets)
    # The API has one object of a name.
    called = draw(st.lists(names, max_size=3, unique=True))
    routers = [bgp_peer(name, **draw(peers)) for name in called]
    found, _ = tables_of(nodes, routers, bgp_settings(**draw(settings)), given)
    return found, given


FAMILIES = st.sampled_from(((4,), (6,), (4, 6)))


def verdict(folder: Path, text: str) -> str:
    """What `bird -p` says of a configuration; "" if it takes it."""
    file = folder / "bird.conf"
    file.write_text(text)
    assert BIRD is not None
    done = subprocess.run(
        [BIRD, "-p", "-c", str(file)], capture_output=True, text=True, check=False, timeout=20
    )
    return "" if done.returncode == 0 else done.stderr + done.stdout
