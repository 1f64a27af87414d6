"""Which rules take a pod by its labels, without trying each of them.

    requires app=web        found by that label, then tried
    requires the label app  found by the label's key, then tried
    own not in (v7)         takes everybody, but those with own=v7: a difference of sets

A cluster has thousands of kinds of pods, and a policy hundreds of rules: their product is not to be
tried.
"""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from itertools import chain
from typing import Generic, TypeVar

from steppe.kube.objects import Pod
from steppe.kube.policies import Namespace, Pods
from steppe.kube.selectors import Requirement

_IndexKey = tuple[str, ...]
_FEW = 2
"""Of so few labels, all that is found by them is tried: it costs less than a pod's own labels."""
_EXCLUDING = frozenset(("NotIn", "DoesNotExist"))
R = TypeVar("R", bound=Hashable)


class PodRules(Generic[R]):
    """Rules with the peers that they name; a peer that several entries of a rule name counts once.

    Invariant: a peer is in `_unless` if its requirements only exclude, else under each of its keys
    in `_by_key`.
    """

    def __init__(self) -> None:
        self._by_key: dict[_IndexKey, dict[R, dict[Pods, None]]] = {}
        self._unless: dict[str, _Unless[R]] = {}

    def add(self, rule: R, peer: Pods) -> None:
        keys = _keys_of_peer(peer)
        if keys is None:
            self._unless.setdefault(peer.within, _Unless()).add(rule, peer)
            return
        for key in keys:
            self._by_key.setdefault(key, {}).setdefault(rule, {})[peer] = None

    def remove(self, rule: R, peer: Pods) -> None:
        keys = _keys_of_peer(peer)
        if keys is None:
            group = self._unless.get(peer.within)
            if group is not None and group.remove(rule, peer):
                del self._unless[peer.within]
            return
        for key in keys:
            found = self._by_key.get(key, {})
            found.pop(rule, None)
            if not found:
                self._by_key.pop(key, None)

    def of(self, pod: Pod, namespace: Namespace | None) -> frozenset[R]:
        found = frozenset(self._tried(pod, namespace))
        for some in self._excluding(pod, namespace):
            found = found | some if found else some
        return found

    def any(self, pod: Pod, namespace: Namespace | None) -> bool:
        """Whether any of the rules takes the pod."""
        if self._unless and any(self._excluding(pod, namespace)):
            return True
        return next(self._tried(pod, namespace), None) is not None

    def _tried(self, pod: Pod, namespace: Namespace | None) -> Iterator[R]:
        by_key = self._by_key
        if len(by_key) <= _FEW:
            for peers_of in by_key.values():
                for rule, peers in peers_of.items():
                    for peer in peers:
                        if matches_pod(peer, pod, namespace):
                            yield rule
                            break
            return
        for key in _keys_of_pod(pod, namespace) if by_key else ():
            if key in by_key:
                for rule, peers in by_key[key].items():
                    if any(matches_pod(peer, pod, namespace) for peer in peers):
                        yield rule

    def _excluding(self, pod: Pod, namespace: Namespace | None) -> Iterator[frozenset[R]]:
        own = self._unless.get(pod.namespace)
        if own is not None:
            yield own.of(_asked("pod", pod.labels))
        everywhere = self._unless.get("")
        if everywhere is not None and namespace is not None:
            labels = chain(_asked("pod", pod.labels), _asked("namespace", namespace.labels))
            yield everywhere.of(labels)


class _Unless(Generic[R]):
    """Peers without any requirement but what they exclude, each with its rule, by number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[R, Pods], int] = {}
        self._rule_of: dict[int, R] = {}
        self._peers: Counter[R] = Counter()
        self._excluded: dict[_IndexKey, set[int]] = {}
        self._rules: frozenset[R] | None = None
        self._next = 0

    def add(self, rule: R, peer: Pods) -> None:
        if (rule, peer) in self._numbers:
            return
        number = self._next = self._next + 1
        self._numbers[rule, peer] = number
        self._rule_of[number] = rule
        self._peers[rule] += 1
        for key in _exclusions(peer):
            self._excluded.setdefault(key, set()).add(number)
        self._rules = None

    def remove(self, rule: R, peer: Pods) -> bool:
        """Whether nothing is left."""
        number = self._numbers.pop((rule, peer), None)
        if number is not None:
            del self._rule_of[number]
            self._peers[rule] -= 1
            if not self._peers[rule]:
                del self._peers[rule]
            for key in _exclusions(peer):
                self._excluded[key].discard(number)
                if not self._excluded[key]:
                    del self._excluded[key]
            self._rules = None
        return not self._numbers

    def of(self, labels: Iterator[_IndexKey]) -> frozenset[R]:
        """The rules of which one peer at least excludes none of these labels."""
        if self._rules is None:
            self._rules = frozenset(self._peers)
        out: set[int] = set()
        for key in labels:
            out |= self._excluded.get(key, set())
        if not out:
            return self._rules
        lost = Counter(self._rule_of[number] for number in out)
        return self._rules.difference(r for r, count in lost.items() if count == self._peers[r])


def matches_pod(peer: Pods, pod: Pod, namespace: Namespace | None) -> bool:
    """Whether a peer matches this pod. A namespace that does not exist has no labels to match."""
    if peer.within:
        return pod.namespace == peer.within and peer.pods.matches(pod.labels)
    if namespace is None:
        return False
    return peer.namespaces.matches(namespace.labels) and peer.pods.matches(pod.labels)


def _requirements(peer: Pods) -> Iterator[tuple[str, Requirement]]:
    yield from (("pod", each) for each in peer.pods.requirements)
    # A namespace that is named is not asked for its labels.
    if not peer.within:
        yield from (("namespace", each) for each in peer.namespaces.requirements)


def _keys_of_peer(peer: Pods) -> list[_IndexKey] | None:
    """Keys of which every pod that the peer matches has at least one; None if it only excludes."""
    wanted = tuple(_requirements(peer))
    if all(each.operator in _EXCLUDING for _, each in wanted):
        return None
    for kind, each in wanted:
        if each.operator == "In":
            return [(kind, peer.within, each.key, value) for value in each.values]
    for kind, each in wanted:
        if each.operator == "Exists":
            return [(kind, peer.within, each.key)]
    return [("any", peer.within)]


def _keys_of_pod(pod: Pod, namespace: Namespace | None) -> list[_IndexKey]:
    # Asked for every pod of a cluster: a list costs half of what a generator does.
    found: list[_IndexKey] = []
    for within in (pod.namespace, ""):
        found += (("any", within),)
        for key, value in pod.labels.items():
            found += (("pod", within, key, value), ("pod", within, key))
    for key, value in namespace.labels.items() if namespace is not None else ():
        found += (("namespace", "", key, value), ("namespace", "", key))
    return found


def _exclusions(peer: Pods) -> Iterator[_IndexKey]:
    """The labels, or keys of labels, with which a pod is not this peer."""
    for kind, each in _requirements(peer):
        if each.operator == "NotIn":
            yield from ((kind, each.key, value) for value in each.values)
        else:
            yield (kind, each.key)


def _asked(kind: str, labels: Mapping[str, str]) -> Iterator[_IndexKey]:
    for key, value in labels.items():
        yield (kind, key, value)
        yield (kind, key)
