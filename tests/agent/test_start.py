"""An agent that starts takes over what an earlier one has left in the kernel."""

from collections.abc import Collection

from steppe.agent.health.metrics import Metrics
from steppe.agent.node.keeper import Keeper
from steppe.agent.node.readings import Start
from steppe.agent.node.underlay import UnderlayView
from steppe.agent.rows import Rows
from steppe.compile.incremental import NodeCompiler
from steppe.kube.objects import Underlay
from steppe.state.node import Key
from steppe.state.sysctl import SysctlKey
from tests.agent.keeper_world import Owner, World
from tests.worlds import node_at


class Source:
    def __init__(self, underlay: Underlay) -> None:
        self._underlay = underlay

    def read(self, _: object) -> Underlay:
        return self._underlay

    def events(self) -> None:
        raise NotImplementedError


class Restarted:
    """A second agent on the same kernel, to which the API has not spoken."""

    def __init__(self, before: World) -> None:
        self.compiler = NodeCompiler(before.compiler.settings, "node-a")
        self.keeper = Keeper(self.compiler, before.driver, Metrics(), Owner())
        self.remembered: set[Key] = set()
        self.cleaned = 0
        view = UnderlayView("node-a", Source(node_at(0).underlay), tuple)  # type: ignore[arg-type]
        self.start = Start(self.compiler, self.keeper, view, self._remember, self._clean_up)

    def _remember(self, keys: Collection[Key]) -> None:
        self.remembered.update(keys)

    async def _clean_up(self) -> None:
        self.cleaned += 1


async def in_step() -> World:
    world = World()
    await world.keeper.read()
    await world.keeper.repair(world.held())
    return world


async def test_the_node_is_known_from_the_kernel_and_nothing_of_it_is_reported_as_missing() -> None:
    """While the API is away, `status` must not name settings that the kernel has."""
    before = await in_step()
    it = Restarted(before)
    await it.start.run()
    assert it.start.done.is_set()
    assert it.cleaned == 1
    assert it.remembered == {k for k in before.desired if not isinstance(k, SysctlKey)}
    here = it.compiler.here
    assert here is not None
    assert set(here.networks) == set(node_at(0).networks)
    assert any(isinstance(key, SysctlKey) for key in it.compiler.state)
    rows = Rows(it.compiler.state, it.keeper.reconciler)
    assert await rows.late(complete=False) == ([], 0)


async def test_on_a_kernel_that_holds_nothing_no_node_is_known() -> None:
    it = Restarted(World())
    await it.start.run()
    assert it.start.done.is_set()
    assert it.compiler.here is None
    assert it.remembered == set()
