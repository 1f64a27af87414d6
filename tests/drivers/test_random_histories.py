"""Any history of events, applied event by event to a real kernel, ends in the from-scratch tables.

The whole chain as the agent runs it: incremental compiler, reconciler, drivers.
"""

import msgspec
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from steppe.agent.node.reconciler import Reconciler
from steppe.compile.incremental import NodeCompiler
from steppe.compile.node import compile_node
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.kernel import KernelDriver
from steppe.drivers.netlink.netns import call_in
from steppe.drivers.nftables.driver import Nft
from steppe.kube.objects import Node, Underlay
from steppe.kube.services import EndpointSlice, Service
from steppe.net.address import parse_interface
from steppe.settings import Settings
from steppe.state.node import values
from steppe.state.sysctl import SysctlKey
from tests.drivers.conftest import Namespace, prepare_node
from tests.service_worlds import SERVICES, SLICES, services, slices
from tests.worlds import node_at

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

OWN = tuple(map(parse_interface, ("192.0.2.11/24", "2001:db8::11/64")))
"""What prepare_node gives the namespace."""
HERE = msgspec.structs.replace(
    node_at(0),
    addresses=tuple(address.ip for address in OWN),
    underlay=Underlay("eth0", 1500, OWN),
)
PEERS = st.builds(node_at, st.integers(1, 4), st.integers(0, 1))

events = st.lists(
    st.one_of(
        st.tuples(st.just("node"), PEERS),
        st.tuples(st.just("gone"), st.integers(1, 4).map(lambda index: node_at(index).name)),
        st.tuples(st.just("service"), services()),
        st.tuples(st.just("no service"), st.sampled_from(SERVICES)),
        st.tuples(st.just("slice"), slices()),
        st.tuples(st.just("no slice"), st.sampled_from(SLICES)),
    ),
    min_size=1,
    max_size=12,
)


class World:
    """What the events so far amount to, and a compiler that was fed them one by one."""

    def __init__(self) -> None:
        self.settings = Settings(fabric="auto")
        self.compiler = NodeCompiler(self.settings, HERE.name)
        self.nodes: dict[str, Node] = {HERE.name: HERE}
        self.services: dict[str, Service] = {}
        self.slices: dict[str, EndpointSlice] = {}

    def feed(self, what, arg):
        match what:
            case "node":
                self.nodes[arg.name] = arg
                return self.compiler.set_node(arg)
            case "gone":
                self.nodes.pop(arg, None)
                return self.compiler.remove_node(arg)
            case "service":
                self.services[arg.name] = arg
                return self.compiler.set_service(arg)
            case "no service":
                self.services.pop(arg, None)
                return self.compiler.remove_service("default", arg)
            case "slice":
                self.slices[arg.name] = arg
                return self.compiler.set_slice(arg)
            case _:
                self.slices.pop(arg, None)
                return self.compiler.remove_slice("default", arg)

    def from_scratch(self) -> dict:
        offered = [
            (service, [s for s in self.slices.values() if s.service == service.name])
            for service in self.services.values()
        ]
        state, _ = compile_node(self.settings, HERE, self.nodes.values(), (), offered)
        return values(state)


def settings_of(compiler: NodeCompiler) -> list[SysctlKey]:
    return [key for key in compiler.state if isinstance(key, SysctlKey)]


@profile(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(events)
@example([("node", node_at(1, 0)), ("node", node_at(1, 1))])  # moves to the other rack
def test_any_history_ends_in_the_from_scratch_kernel(history) -> None:
    namespace = Namespace()
    try:
        prepare_node(namespace)
        nft = call_in(namespace.fd, lambda: Nft(SKELETON))
        with nft, KernelDriver(namespace.fd, more=(nft,)) as kernel:
            nft.ensure()
            world = World()
            reconciler = Reconciler(world.compiler)
            reconciler.touch(world.compiler.set_node(HERE))
            reconciler.replace_actual(kernel.read(settings_of(world.compiler)))
            for what, arg in history:
                reconciler.touch(world.feed(what, arg))
                plan = reconciler.plan()
                failures = kernel.apply(plan.changes)
                assert not failures, failures[0].error
                reconciler.settle(plan.changes, failures)
            wanted = world.from_scratch()
            seen = kernel.read([key for key in wanted if isinstance(key, SysctlKey)])
            assert seen == wanted
            assert reconciler.drift(seen) == ()
    finally:
        namespace.close()
