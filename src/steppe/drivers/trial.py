"""A throw-away node with one pod: two network namespaces without a name.

Nothing of it is in the node's own namespace, so no other program sees it, and the kernel removes
both namespaces with the last descriptor: no process that is killed leaves anything behind.
"""

import contextlib
import os
from collections.abc import Iterator

from steppe.drivers.kernel import KernelDriver
from steppe.drivers.kernel_namespaces import KernelNamespaces
from steppe.drivers.namespaces import TrialNode
from steppe.drivers.netlink.netns import call_in_new, current


@contextlib.contextmanager
def trial_node() -> Iterator[TrialNode]:
    """Both namespaces, for as long as this lasts; NetnsError or OSError if one cannot be made."""
    with _made() as node, _made() as pod, KernelDriver(node) as host:
        yield TrialNode(host, KernelNamespaces(), f"/proc/self/fd/{pod}")


@contextlib.contextmanager
def _made() -> Iterator[int]:
    fd = call_in_new(current)
    try:
        yield fd
    finally:
        os.close(fd)
