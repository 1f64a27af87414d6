"""What the API says, as it comes to the speaker: the feed, and the view over the compiler."""

from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest

from steppe.agent.bgp.view import BgpView
from steppe.agent.feeds.bgp import BgpFeed
from steppe.bgp.objects import BgpSettings
from steppe.client.informer import Deleted, Refused, Replaced, Unreadable, Upserted
from steppe.compile.incremental import NodeCompiler
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.settings import Settings
from tests.bgp.worlds import bgp_peer, bgp_settings
from tests.worlds import node_at

TOR = bgp_peer("tor", address="192.0.2.254", asn=65001)
VIP = ip_address("203.0.113.9")


def fed() -> BgpFeed:
    feed = BgpFeed()
    feed.take_peer(Replaced((TOR,)))
    feed.take_settings(Replaced((bgp_settings(asn=65010),)))
    return feed


def names(feed: BgpFeed) -> list[str]:
    return sorted(peer.name for peer in feed.routers)


def test_peers_and_settings_come_and_go_and_each_event_wakes() -> None:
    feed, woken = fed(), list[int]()
    feed.changed = lambda: woken.append(1)
    assert (names(feed), feed.settings.asn) == (["tor"], 65010)
    feed.take_peer(Upserted(bgp_peer("more", address="192.0.2.253", asn=65001)))
    assert names(feed) == ["more", "tor"]
    feed.take_peer(Deleted(TOR))
    feed.take_settings(Deleted(bgp_settings()))
    assert (names(feed), feed.settings) == (["more"], BgpSettings())
    assert len(woken) == 3


def test_a_cluster_without_the_kinds_has_none_of_them() -> None:
    feed = BgpFeed()
    assert not feed.listed
    feed.take_peer(Refused(404))
    feed.take_settings(Refused(404))
    assert feed.listed
    assert (names(feed), feed.settings, feed.problems) == ([], BgpSettings(), ())


def test_what_cannot_be_read_or_listed_leaves_what_was_known_in_force() -> None:
    feed = fed()
    feed.take_peer(Unreadable("", "tor", "expected int"))
    feed.take_settings(Refused(403))
    assert (names(feed), feed.settings.asn) == (["tor"], 65010)
    assert [str(problem.cause) for problem in feed.problems] == ["BGPPeer/tor", "BGPSettings"]


def test_nothing_in_the_kernel_waits_for_these_lists() -> None:
    assert BgpFeed().complete


class Known:
    def __init__(self, folder: Path) -> None:
        self.compiler = NodeCompiler(Settings(fabric="bgp"), "node-a")
        self.feed, self.trusted, self.leaving = fed(), True, False
        self.view = BgpView(
            self.compiler,
            self.feed,
            folder,
            mesh=True,
            trusted=lambda: self.trusted,
            leaving=lambda: self.leaving,
        )


@pytest.fixture
def known(tmp_path: Path) -> Known:
    return Known(tmp_path)


def test_there_is_no_world_before_all_of_it_is_known(known: Known) -> None:
    assert known.view.world(frozenset()) is None
    known.compiler.set_node(node_at(0))
    world = known.view.world(frozenset())
    assert world is not None
    assert world.settings.asn == 65010
    known.trusted = False
    assert known.view.world(frozenset()) is None


def test_a_service_comes_with_the_addresses_that_this_node_delivers(known: Known) -> None:
    known.compiler.set_node(node_at(0))
    web = Service(
        "default",
        "web",
        type="LoadBalancer",
        cluster_ips=(ip_address("10.96.0.9"),),
        load_balancer_ips=(VIP,),
        ports=(ServicePort("", "TCP", 80),),
        external_local=True,
    )
    known.compiler.set_service(web)
    for node, expected in (("node-b", frozenset()), ("node-a", frozenset((VIP,)))):
        endpoint = Endpoint(ip_address("10.244.1.7"), node)
        slice_ = EndpointSlice("default", "web-1", "web", (("", "TCP", 80),), (endpoint,))
        known.compiler.set_slice(slice_)
        world = known.view.world(frozenset())
        assert world is not None
        assert [delivered for _, delivered in world.services] == [expected]
    inner = msgspec.structs.replace(web, name="inner", load_balancer_ips=())
    known.compiler.set_service(inner)
    world = known.view.world(frozenset())
    assert world is not None
    assert [service.name for service, _ in world.services] == ["web"]


def test_passwords_are_the_folders_files_that_can_be_used(known: Known, tmp_path: Path) -> None:
    assert known.view.passwords() == {}
    for name, text in {"tor": "s3cret\n", "odd": 'a"b', "empty": "", "two": "a\nb"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "..data").mkdir()
    assert known.view.passwords() == {"tor": "s3cret"}


def test_a_folder_of_passwords_that_is_not_there_has_none(known: Known) -> None:
    view = BgpView(
        known.compiler,
        known.feed,
        Path("/nonexistent/bgp-passwords"),
        mesh=True,
        trusted=lambda: True,
        leaving=lambda: False,
    )
    assert view.passwords() == {}
