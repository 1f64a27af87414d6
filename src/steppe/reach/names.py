"""Names for groups: the names of their pods' workloads.

A pod's workload is found by owner references. If an owner is missing, such as a ReplicaSet that is
not among the manifests, its name is parsed: NAME-HASH belongs to Deployment NAME.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import get_args

import msgspec

from steppe.kube.cause import ObjectRef
from steppe.kube.cluster import Name
from steppe.kube.kinds import group_in
from steppe.kube.objects import Node, Pod
from steppe.net.address import IPNetwork, holds, sort_key
from steppe.reach.groups import INTERNET, Group, Kind, Member, of_kind
from steppe.reach.matrix import Mask, bits

_SHOWN = 3
_LISTED = 6
_REST = 3
"""Up to this many names are written out instead of "everyone else"."""
_KINDS: tuple[Kind, ...] = get_args(Kind)
_HASH_LABEL = "pod-template-hash"


class _Owner(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str | None = None
    kind: str = ""
    name: str = ""
    controller: bool | None = None


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    owner_references: tuple[_Owner, ...] | None = None
    labels: dict[str, str] | None = None


class _Object(msgspec.Struct, frozen=True):
    metadata: _Metadata = _Metadata()


def workloads_of(objects: Mapping[ObjectRef, object]) -> Mapping[Name, str]:
    """The workload of each pod among the documents; the pod's own name if it has none."""
    return {
        (ref.namespace, ref.name): _topmost(ref, objects) for ref in objects if ref.kind == "Pod"
    }


def _topmost(ref: ObjectRef, objects: Mapping[ObjectRef, object]) -> str:
    metadata = _metadata(objects[ref])
    owner = next((o for o in metadata.owner_references or () if o.controller), None)
    if owner is None:
        return ref.name
    above = ObjectRef(
        owner.kind, ref.namespace, owner.name, group_in(owner.api_version, owner.kind)
    )
    if above in objects and above != ref:
        return _topmost(above, objects)
    # "This label ensures that child ReplicaSets of a Deployment do not overlap." (Deployments,
    # pod-template-hash): its value ends the ReplicaSet's name.
    suffix = f"-{(metadata.labels or {}).get(_HASH_LABEL, '')}"
    return owner.name.removesuffix(suffix) if owner.kind == "ReplicaSet" else owner.name


def _metadata(document: object) -> _Metadata:
    try:
        return msgspec.convert(document, _Object).metadata
    except msgspec.ValidationError:
        return _Metadata()


class Names:
    """Names groups, in the same way in every output."""

    def __init__(self, groups: Sequence[Group], workloads: Mapping[Name, str]) -> None:
        self._groups = groups
        self._workloads = workloads
        self._of_kind = {kind: of_kind(groups, kind) for kind in _KINDS}

    def workload(self, pod: Pod) -> str:
        return self._workloads.get((pod.namespace, pod.name), pod.name)

    def group(self, number: int) -> str:
        return self._names[number]

    def senders(self, mask: Mask, *, rest: bool = False) -> str:
        """The names of all groups in a mask; `rest`: other lines name all the others."""
        numbers = list(bits(mask))
        present = [kind for kind in _KINDS if self._of_kind[kind]]
        whole = [kind for kind in present if not self._of_kind[kind] & ~mask]
        if rest and whole == present:
            return "everyone"
        if rest and len(numbers) > _REST:
            return "everyone else"
        if "pods" in whole and self._of_kind["pods"].bit_count() > 1:
            others = (n for n in numbers if self._groups[n].kind != "pods")
            return _listed(["all pods", *map(self.group, others)], _LISTED)
        return _listed(map(self.group, numbers), _LISTED)

    def row(self, mask: Mask, only: frozenset[str], but: frozenset[str]) -> str:
        """The senders of a row: groups, or some of their members, or all others of them."""
        if only:
            return _listed(sorted(only), _LISTED)
        found = self.senders(mask)
        return f"{found}, but not {_listed(sorted(but), _LISTED)}" if but else found

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(self._called(group) for group in self._groups)

    def _called(self, group: Group) -> str:
        if group.kind == "nodes":
            every = len(group.members) > 1 and self._of_kind["nodes"].bit_count() == 1
            return "all nodes" if every else _listed([f"node/{n.name}" for n in group.nodes])
        if group.kind == "outside":
            return _listed([self._prefix(prefix) for prefix in group.prefixes])
        return self._pods(group.pods)

    def _prefix(self, prefix: IPNetwork) -> str:
        """A prefix; "the rest of" it where longer ones inside it are ends of their own."""
        if prefix != INTERNET and prefix in self._cut:
            return f"the rest of {prefix}"
        return prefix_name(prefix)

    @cached_property
    def _cut(self) -> frozenset[IPNetwork]:
        """The prefixes that have others inside them: these follow them in order."""
        known = sorted((p for group in self._groups for p in group.prefixes), key=sort_key)
        return frozenset(p for p, after in pairwise(known) if holds(p, after))

    def _pods(self, pods: tuple[Pod, ...]) -> str:
        found: dict[str, list[Pod]] = {}
        for pod in pods:
            found.setdefault(pod.namespace, []).append(pod)
        names: list[str] = []
        for namespace, own in found.items():
            workloads = dict.fromkeys(map(self.workload, own))
            if len(own) == self._sizes[namespace, ""] and len(workloads) > 1:
                names.append(f"{namespace}/*")
            else:
                names += (f"{namespace}/{workload}" for workload in workloads)
        return f"{_listed(names)} ({self._count(pods)})"

    def _count(self, pods: tuple[Pod, ...]) -> str:
        total = len(pods)
        one = {(pod.namespace, self.workload(pod)) for pod in pods}
        size = self._sizes[one.pop()] if len(one) == 1 else total
        part = f"{total} of " if total != size else ""
        return f"{part}{size} pod{'s' if size != 1 else ''}"

    @cached_property
    def _sizes(self) -> Mapping[Name, int]:
        """The number of pods of each workload, and of each namespace (under the name "")."""
        found: dict[Name, int] = {}
        for group in self._groups:
            for pod in group.pods:
                for key in ((pod.namespace, self.workload(pod)), (pod.namespace, "")):
                    found[key] = found.get(key, 0) + 1
        return found


def prefix_name(prefix: IPNetwork) -> str:
    """A prefix as text; a single address without its length."""
    if prefix == INTERNET:
        return "internet"
    alone = prefix.prefixlen == prefix.max_prefixlen
    return str(prefix.network_address) if alone else str(prefix)


def member_name(member: Member) -> str:
    """One member of a group, spelled as --from takes it."""
    if isinstance(member, Pod):
        return f"{member.namespace}/{member.name}"
    return f"node/{member.name}" if isinstance(member, Node) else prefix_name(member)


def _listed(names: Iterable[str], shown: int = _SHOWN) -> str:
    first = list(names)
    more = len(first) - shown
    return ", ".join(first[:shown]) + (f" and {more} more" if more > 0 else "")
