"""The agent's own node, for the CNI server and others."""

from steppe.agent.node.underlay import UnderlayView
from steppe.compile.incremental import NodeCompiler
from steppe.fabric.registry import fabric_of
from steppe.net.address import IPAddress, IPNetwork


def own_addresses(compiler: NodeCompiler) -> tuple[IPAddress, ...]:
    """The addresses in the node's own object; () before it is known."""
    return compiler.here.addresses if compiler.here is not None else ()


class Here:
    """The current state of the node; every property is computed when it is read."""

    def __init__(self, compiler: NodeCompiler, underlay: UnderlayView) -> None:
        self._compiler = compiler
        self._underlay = underlay

    @property
    def name(self) -> str:
        return self._compiler.name

    @property
    def prefixes(self) -> tuple[IPNetwork, ...]:
        """The pod prefixes of this node."""
        here = self._compiler.here
        return here.networks if here is not None else ()

    @property
    def refused(self) -> str:
        """Why pods are given no address although the node has a prefix; "" where they are."""
        prefixes = (p for p in self._compiler.refused_here if p.cause.field != "status.addresses")
        return "; ".join(str(problem) for problem in prefixes)

    @property
    def mtu(self) -> int:
        """The MTU of pods' links, in bytes."""
        here = self._compiler.here
        settings = self._compiler.settings
        return fabric_of(settings).mtu(settings, here) if here else self._underlay.value.mtu

    def why_not_ready(self) -> str:
        """Why pods cannot be attached now; "" if they can."""
        here = self._compiler.here
        if here is None:
            return f"waiting for the API server to send Node {self.name}"
        if self.refused:
            return self.refused
        if not here.prefixes:
            return f"Node {here.name} has no pod prefix yet"
        return ""
