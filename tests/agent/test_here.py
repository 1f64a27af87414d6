"""What the CNI server is told of its own node, before and after the API has spoken."""

from typing import Any

from steppe.agent.node.here import Here, own_addresses
from steppe.agent.node.underlay import UnderlayView
from steppe.compile.incremental import NodeCompiler
from steppe.kube.objects import DEFAULT_UNDERLAY, Node, Underlay
from steppe.settings import Settings
from tests.worlds import node_at


def here(compiler: NodeCompiler) -> Here:
    source: Any = None
    view = UnderlayView("node-a", source, tuple)
    view.value = Underlay("eth0", 9000)
    return Here(compiler, view)


def test_before_the_api_has_spoken_no_pod_can_be_attached_and_links_have_the_uplinks_mtu() -> None:
    compiler = NodeCompiler(Settings(fabric="direct"), "node-a")
    it = here(compiler)
    assert (it.name, it.prefixes, it.mtu) == ("node-a", (), 9000)
    assert it.why_not_ready() == "waiting for the API server to send Node node-a"
    assert own_addresses(compiler) == ()


def test_a_node_without_a_prefix_is_not_ready_and_one_with_prefixes_is() -> None:
    compiler = NodeCompiler(Settings(fabric="vxlan"), "node-a")
    it = here(compiler)
    compiler.set_node(Node("node-a", underlay=DEFAULT_UNDERLAY))
    assert it.why_not_ready() == "Node node-a has no pod prefix yet"
    node = node_at(0)
    compiler.set_node(node)
    assert it.why_not_ready() == ""
    assert it.prefixes == node.networks
    assert it.mtu < node.underlay.mtu  # the tunnel's header takes its part
    assert own_addresses(compiler) == node.addresses
