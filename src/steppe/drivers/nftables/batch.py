"""Changes to elements, collected into one transaction."""

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from ipaddress import IPv4Network, IPv6Network

from steppe.drivers.nftables.intervals import Cover
from steppe.drivers.nftables.library import NftError
from steppe.drivers.nftables.render import Row, elements_text
from steppe.net.address import IPNetwork
from steppe.plan.diff import Change
from steppe.state.nft import Atom, Chain, Element, ElementKey, Set, Skeleton
from steppe.state.node import Value

_BULK = 5000
"""Elements a command, so that nft's parser need not hold all of a large set at once."""

_Key = tuple[Atom, ...]
Covers = MutableMapping[tuple[str, _Key], Cover]
"""The claimed prefixes of each interval set, separate for each value of the other fields."""


class Batch:
    """The changes of one transaction. `undo` restores `covers`, if the transaction fails."""

    def __init__(self, skeleton: Skeleton, sets: Mapping[str, Set], covers: Covers) -> None:
        self._skeleton = skeleton
        self._sets = sets
        self._covers = covers
        self._gone: dict[str, list[Row]] = {}
        self._come: dict[str, list[Row]] = {}
        self._prefixes_gone: dict[str, dict[_Key, None]] = {}
        self._prefixes_come: dict[str, dict[_Key, Element]] = {}
        self._noted: list[tuple[Cover, IPNetwork, bool]] = []

    def take(self, change: Change) -> None:
        """Add a change."""
        key, new = change.key, change.new
        if not isinstance(key, ElementKey) or key.set not in self._sets:
            raise NftError(f"there is no set for {key}")
        spec = self._sets[key.set]
        # A map's prefixes must not cover each other: they may have different data.
        if spec.interval and not spec.data:
            self._move_prefix(key, new)
            return
        # A change is the only one of its key: its fields need not be looked up, and hashed for it.
        if change.old is not None:
            self._gone.setdefault(key.set, []).append((key.key, None))
        if isinstance(new, Element):
            self._come.setdefault(key.set, []).append((key.key, new))

    @property
    def deleted(self) -> dict[str, Iterable[Row]]:
        """The elements to delete, by set."""
        return {**self._gone, **{n: rows.items() for n, rows in self._prefixes_gone.items()}}

    @property
    def added(self) -> dict[str, Iterable[Row]]:
        """The elements to add after that, by set."""
        return {**self._come, **{n: rows.items() for n, rows in self._prefixes_come.items()}}

    def undo(self) -> None:
        for cover, prefix, added in reversed(self._noted):
            if added:
                cover.remove(prefix)
            else:
                cover.add(prefix)

    def chains(self, known: Iterable[str]) -> list[Chain]:
        """The chains that must be made before, without the known ones."""
        return chains_for(self._skeleton, self._come, known)

    def _move_prefix(self, key: ElementKey, new: Value | None) -> None:
        prefix, *rest = key.key
        if not isinstance(prefix, IPv4Network | IPv6Network):
            raise NftError(f"{prefix} is no prefix")
        cover = self._covers.setdefault((key.set, tuple(rest)), Cover())
        if (prefix in cover) != (new is not None):
            self._noted.append((cover, prefix, new is not None))
        puts, drops = cover.remove(prefix) if new is None else cover.add(prefix)
        for gone in drops:
            self._delete(key.set, (gone, *rest))
        for come in puts:
            self._add(key.set, (come, *rest))

    def _delete(self, name: str, key: _Key) -> None:
        # A prefix that this transaction was to add is not sent to the kernel at all.
        if self._prefixes_come.get(name, {}).pop(key, None) is None:
            self._prefixes_gone.setdefault(name, {})[key] = None

    def _add(self, name: str, key: _Key) -> None:
        if key in self._prefixes_gone.get(name, ()):
            del self._prefixes_gone[name][key]
        else:
            self._prefixes_come.setdefault(name, {})[key] = Element()


def chains_for(
    skeleton: Skeleton, added: Mapping[str, Sequence[Row]], known: Iterable[str]
) -> list[Chain]:
    """The chains that verdicts among these elements lead to and that are not there yet."""
    verdicts = {spec.name for spec in skeleton.sets if spec.data == "verdict"}
    names = {
        str(value.data[0])
        for name, rows in added.items()
        if name in verdicts
        for _, value in rows
        if value is not None and value.data != ("drop",)
    }
    return with_targets(skeleton, names, known)


def with_targets(skeleton: Skeleton, names: Iterable[str], known: Iterable[str]) -> list[Chain]:
    """The chains of these names that are not there yet, each behind those that it goes to."""
    there = {chain.name for chain in skeleton.chains}.union(known)
    found: dict[str, Chain] = {}

    def need(name: str) -> None:
        if name in there or name in found:
            return
        chain = skeleton.chain(name)
        if chain is None:
            raise NftError(f"{name!r} is the name of no chain")
        for target in chain.targets:
            need(target)
        found[name] = chain

    for name in sorted(names):
        need(name)
    return list(found.values())


def commands(verb: str, table: str, spec: Set, rows: Sequence[Row]) -> list[str]:
    """The rows of one set in commands of a size that nft digests."""
    return [
        elements_text(verb, table, spec, rows[start : start + _BULK])
        for start in range(0, len(rows), _BULK)
    ]
