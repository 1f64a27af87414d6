"""From documents to objects: checked as an API server checks them, each object once.

What is not taken is told in one of four ways:

    Problem     an object is refused, or written twice
    Refused     the same, with all that is known of the object: answers may hang on it (doubts.py)
    makers      kinds whose controllers make pods that nobody here knows
    gap         a sentence on what is missing: files, kinds that decide but are not judged, patches
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import msgspec

from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.kinds import GROUP_OF, is_known
from steppe.manifests.checked import Checked, changed, checked
from steppe.manifests.documents import (
    Json,
    Manifest,
    Objects,
    in_its_namespace,
    kind_of,
    opened,
    ref_of,
)
from steppe.manifests.relevant import decides, has_template, is_elsewhere, listed, makes_pods

IN_USE: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            *("Node", "Namespace", "Pod", "Service", "ReplicationController", "Endpoints"),
            *("EndpointSlice", "NetworkPolicy", "ServiceCIDR"),
            *("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob"),
        ),
        ("v1",),
    ),
    "ClusterNetworkPolicy": ("v1alpha2", "v1beta1"),
    **dict.fromkeys(("AdminNetworkPolicy", "BaselineAdminNetworkPolicy"), ("v1alpha1",)),
}
"""The kinds that Steppe uses, each of the API group that kube/kinds.py has for it, and the versions
in which Kubernetes has them today."""


_OWN_GROUPS = frozenset(
    ("", "apps", "batch", "extensions", "networking.k8s.io", "discovery.k8s.io", "policy")
)
"""Kubernetes' own API groups, in which a kind of that name can only be a slip or an old version."""


class Refused(msgspec.Struct, frozen=True):
    """An object that an API server does not take: the document as far as it is known, and why."""

    document: Json
    problems: tuple[Problem, ...]


class Collected(msgspec.Struct, frozen=True):
    """The objects of kinds in use, Problems of documents, and what is not understood.

    `makers`: by namespace, the kinds whose objects may have pods that are not among the objects.
    """

    objects: Objects
    problems: tuple[Problem, ...] = ()
    gaps: tuple[str, ...] = ()
    refused: Mapping[ObjectRef, Refused] = {}
    makers: Mapping[str, tuple[ObjectRef, ...]] = {}


class _Written(msgspec.Struct, frozen=True):
    """An object as one document has it."""

    document: Json
    where: str
    refused: tuple[Problem, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether all that is wrong with it is that something is missing, as in a patch."""
        missing = (problem.message.partition("Required value")[1] for problem in self.refused)
        return bool(self.refused) and all(missing)


class _Collecting:
    """What the documents so far have given."""

    def __init__(self) -> None:
        self.written: dict[ObjectRef, list[_Written]] = {}
        self.problems: list[Problem] = []
        self.gaps: list[str] = []
        self.refused: dict[ObjectRef, Refused] = {}
        self.strangers: dict[str, list[str]] = {}
        self.makers: dict[str, list[ObjectRef]] = {}

    def add(self, manifest: Manifest) -> None:
        content, where = manifest.content, manifest.where
        if manifest.fault:
            self._unread(manifest)
            return
        kind, fault = kind_of(content)
        if fault:
            self.gaps.append(f"{where or 'a document'} {fault}, so it is passed over")
            return
        ref = ref_of(content)
        if kind in IN_USE and is_known(kind, ref.group):
            self._known(ref, manifest)
        elif kind in IN_USE and ref.group in _OWN_GROUPS:
            self._refuse(ref, content, _not_served(kind, content, where))
        elif decides(kind, ref.group):
            self.strangers.setdefault(_unknown_kind(ref), []).append(_named(ref))
        elif ref.group == "kustomize.config.k8s.io":
            self.gaps.append(f"{where or _named(ref)} is a kustomization: name its folder with -f")
        elif makes_pods(kind, ref.group) or (
            not is_elsewhere(kind, ref.group) and has_template(content)
        ):
            self._made(ref, content)

    def _unread(self, manifest: Manifest) -> None:
        """A document that could not be decoded; a glance may have told which object it is."""
        kind, fault = kind_of(manifest.content)
        if not fault and kind in IN_USE and (ref := ref_of(manifest.content)).name:
            problem = Problem(Cause(ref), f"{manifest.where} {manifest.fault}")
            self.problems.append(problem)
            self.refused[ref] = Refused(manifest.content, (problem,))
        else:
            self.gaps.append(f"{manifest.where} {manifest.fault}")

    def _known(self, ref: ObjectRef, manifest: Manifest) -> None:
        content, where = self._named(ref, manifest.content), manifest.where
        ref = ref_of(content)
        if not ref.name:
            # Several may have none, so what stands for each of them is its place.
            place = msgspec.structs.replace(ref, name=f"({where or len(self.refused)})")
            problem = Problem(Cause(ref, "metadata.name"), _at(_nameless(content), where))
            self.problems.append(problem)
            self.refused[place] = Refused(content, (problem,))
            return
        versions = IN_USE[ref.kind]
        version = content.get("apiVersion")
        if isinstance(version, str) and version.rpartition("/")[2] not in versions:
            self._refuse(ref, content, _not_served(ref.kind, content, where))
            return
        found = Checked(content) if manifest.admitted else checked(ref, content)
        twice = tuple(
            Problem(
                Cause(ref),
                _at(f"the key {key} is given twice; tools differ in which counts", where),
            )
            for key in manifest.twice
        )
        document = in_its_namespace(found.document, ref)
        entry = _Written(document, where, (*twice, *found.refused))
        self.written.setdefault(ref, []).append(entry)

    def _named(self, ref: ObjectRef, content: Json) -> Json:
        """The object with a name, such as a server makes of its generateName."""
        metadata: Any = content.get("metadata")
        prefix = metadata.get("generateName") if isinstance(metadata, dict) else None
        if ref.name or not isinstance(prefix, str) or not prefix:
            return content
        names = (f"{prefix}{number}" for number in count())
        free = next(n for n in names if msgspec.structs.replace(ref, name=n) not in self.written)
        return content | {"metadata": metadata | {"name": free}}

    def _refuse(self, ref: ObjectRef, document: Json, message: str) -> None:
        problem = Problem(Cause(ref, "apiVersion"), message)
        self.problems.append(problem)
        self.refused[ref] = Refused(document, (problem,))

    def _made(self, ref: ObjectRef, content: Json) -> None:
        for namespace in _namespaces_of(ref, content):
            self.makers.setdefault(namespace, []).append(ref)

    def settle(self) -> Collected:
        """One object for each reference."""
        objects: Objects = {}
        for ref, entries in self.written.items():
            taken = self._settled(ref, entries)
            if taken is not None:
                objects[ref] = taken
        strangers = (not_understood(kind, found) for kind, found in sorted(self.strangers.items()))
        self.gaps += (*strangers, *_of_makers(self.makers))
        makers = {namespace: tuple(refs) for namespace, refs in self.makers.items()}
        return Collected(objects, tuple(self.problems), tuple(self.gaps), self.refused, makers)

    def _settled(self, ref: ObjectRef, entries: Sequence[_Written]) -> Json | None:
        """The document that counts; of several the last one, as with `kubectl apply`."""
        good = [entry for entry in entries if not entry.refused]
        for entry in entries:
            if good and entry.partial:
                what = _at(f"{ref} is a patch", entry.where)
                self.gaps.append(f"{what}: it is not whole, so it is not read as an object")
            elif entry.refused:
                self.problems += entry.refused
                self.refused[ref] = Refused(entry.document, entry.refused)
        if not good:
            return None
        counting = good[0]
        for entry in good[1:]:
            counting = self._after(ref, counting, entry)
        return counting.document

    def _after(self, ref: ObjectRef, first: _Written, later: _Written) -> _Written:
        """Which of two documents counts once both were applied, in this order."""
        if first.document == later.document:
            return later
        fixed = changed(ref, first.document, later.document)
        if fixed:
            self.problems += fixed
            self.refused[ref] = Refused(later.document, fixed)
            return first
        place = first.where or "an earlier document"
        message = _at(f"was already given in {place}; the later one counts", later.where)
        self.problems.append(Problem(Cause(ref), message))
        return later


def collected(manifests: Iterable[Manifest]) -> Collected:
    """The objects of these documents; what is wrong with them does not raise."""
    collecting = _Collecting()
    for manifest in opened(manifests):
        collecting.add(manifest)
    return collecting.settle()


def not_understood(kind: str, names: Iterable[str]) -> str:
    """The sentence for objects of a kind that only another project's software implements."""
    return (
        f"kind {kind} is not understood ({listed(names)}): what it allows or denies is not in this "
        "answer"
    )


def _of_makers(makers: Mapping[str, Iterable[ObjectRef]]) -> Iterator[str]:
    kinds: dict[str, set[str]] = {}
    for refs in makers.values():
        for ref in refs:
            kinds.setdefault(ref.full_kind, set()).add(_named(ref))
    for kind, names in sorted(kinds.items()):
        yield f"kind {kind} may have pods that are not in this answer ({listed(names)})"


def _namespaces_of(ref: ObjectRef, content: Json) -> Iterator[str]:
    """Where an object's pods may be: in its namespace, and in the one that it names as its aim."""
    yield ref.namespace
    spec: Any = content.get("spec")
    fields = spec if isinstance(spec, dict) else {}
    aim: Any = fields.get("destination")
    for holder, field in ((aim, "namespace"), (fields, "targetNamespace")):
        name = holder.get(field) if isinstance(holder, dict) else None
        if isinstance(name, str) and name != ref.namespace:
            yield name


def _nameless(content: Json) -> str:
    metadata: Any = content.get("metadata")
    if isinstance(metadata, dict) and metadata.get("name") is False:
        return "has no name: n, no, off and false are no texts in YAML; put it in quotes"
    return "has no name"


def _not_served(kind: str, content: Json, where: str) -> str:
    wanted = "/".join(filter(None, (GROUP_OF[kind], IN_USE[kind][-1])))
    version = content.get("apiVersion")
    return _at(f"Kubernetes has no {kind} of {version} (any more): write {wanted}", where)


def _unknown_kind(ref: ObjectRef) -> str:
    """The kind; with its group if one of the kinds in use has the same name."""
    known = GROUP_OF.get(ref.kind, ref.group) == ref.group
    return ref.kind if known else f"{ref.kind} ({ref.group})"


def _named(ref: ObjectRef) -> str:
    return f"{ref.namespace}/{ref.name}"


def _at(message: str, where: str) -> str:
    return f"{message} ({where})" if where else message
