"""A throw-away node with one pod: two network namespaces without a name.

Nothing of it is in the node's own namespace, so no other program sees it, and the kernel removes
both namespaces with the last descriptor: no process that is killed leaves anything behind.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import msgspec

from steppe.drivers.kernel import KernelDriver
from steppe.drivers.kernel_namespaces import KernelNamespaces
from steppe.drivers.namespaces import Host, Namespaces
from steppe.drivers.netlink.netns import call_in_new, current


class TrialNode(msgspec.Struct, frozen=True):
    """A driver of the throw-away node, and the path of the pod's among these namespaces."""

    host: Host
    namespaces: Namespaces
    netns: str


TrialNodes = Callable[[], AbstractContextManager[TrialNode]]


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
