"""What both directions of a node's policies work on: the cluster's objects, and where claims go."""

from collections.abc import Collection, Iterable
from typing import Protocol

from steppe.compile.owners import Owner
from steppe.kube.cause import Problem
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import Namespace
from steppe.state.node import Key, NodeClaim

Name = tuple[str, str]
"""Namespace and name."""


class ClaimSets(Protocol):
    """Claims by owner: one claim set for each (compile/tables.py)."""

    def replace(self, owner: Owner, claim_set: Iterable[NodeClaim | Problem]) -> frozenset[Key]: ...
    def keys(self, owner: Owner) -> Collection[Key]: ...


class ClusterObjects:
    """The objects of the cluster that policies depend on, shared by both directions."""

    def __init__(self) -> None:
        self.pods: dict[Name, Pod] = {}
        self.nodes: dict[str, Node] = {}
        self.namespaces: dict[str, Namespace] = {}
