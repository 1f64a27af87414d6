"""How to run a command inside a lab: in a pod's container, on a node, or on the outside host."""

from steppe_lab.kubelet.enter import enter_command
from steppe_lab.netns import NETNS_DIR
from steppe_lab.record import LabError, Options, paths
from steppe_lab.topology.model import describe


def command_in(options: Options, target: str, container: str) -> tuple[str, ...]:
    """What to put before a command line; the target is [NAMESPACE/]POD, node/NAME or outside."""
    kind, _, name = target.rpartition("/")
    if target == "outside" or kind == "node":
        return ("nsenter", f"--net={NETNS_DIR / host_namespace(options, name)}", "--")
    return enter_command(paths(options.name).root, kind or "default", name, container)


def host_namespace(options: Options, name: str) -> str:
    """The network namespace of a node or of the outside host."""
    topology = describe(options.name, options.nodes, options.family, options.topology)
    for host in topology.hosts:
        if host.name == name:
            return host.netns
    raise LabError(f"lab {options.name!r} has no node {name!r}; it has {topology.nodes[0].name} …")
