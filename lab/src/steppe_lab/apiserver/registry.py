"""Which kinds are served, and under which path and storage name each is found.

Built-in kinds never change; custom ones come and go with their CustomResourceDefinitions.
Versions of one resource share one collection, since conversion is "None" or a rename.
"""

from collections.abc import Iterable, Iterator

from steppe_lab.apiserver.kinds import BUILTIN, Kind


def storage_name(kind: Kind) -> str:
    """The collection a kind is kept in: one for all its versions."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


class Registry:
    """The kinds being served, by group, version and plural name."""

    def __init__(self, builtin: Iterable[Kind] = BUILTIN) -> None:
        self._builtin = {(kind.group, kind.version, kind.plural): kind for kind in builtin}
        self._custom: dict[str, tuple[Kind, ...]] = {}
        self._served = dict(self._builtin)
        self.generation = 0

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        return self._served.get((group, version, plural))

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._served.values())

    def serve(self, definition: str, kinds: tuple[Kind, ...]) -> None:
        """Serve the kinds of one CustomResourceDefinition in place of those it had before."""
        self._custom[definition] = kinds
        self._rebuild()

    def withdraw(self, definition: str) -> None:
        self._custom.pop(definition, None)
        self._rebuild()

    def _rebuild(self) -> None:
        custom = {
            (kind.group, kind.version, kind.plural): kind
            for kinds in self._custom.values()
            for kind in kinds
        }
        self._served = custom | self._builtin
        self.generation += 1

    def groups(self) -> dict[str, list[str]]:
        """Group to versions, in the order of preference: built-in first, then stable first."""
        found: dict[str, list[str]] = {}
        for group, version, _ in self._served:
            versions = found.setdefault(group, [])
            if version not in versions:
                versions.append(version)
        for versions in found.values():
            versions.sort(key=version_priority)
        return found

    def of_version(self, group: str, version: str) -> tuple[Kind, ...]:
        return tuple(
            kind
            for (its_group, its_version, _), kind in self._served.items()
            if (its_group, its_version) == (group, version)
        )


def version_priority(version: str) -> tuple[int, int, int, str]:
    """Kubernetes' order of versions: v2, v1, v2beta1, v1beta2, v1alpha1, then others by name."""
    digits = version.removeprefix("v")
    for rank, stage in enumerate(("", "beta", "alpha")):
        major, found, minor = digits.partition(stage) if stage else (digits, "", "0")
        if major.isdigit() and minor.isdigit() and (found or not stage):
            return rank, -int(major), -int(minor), ""
    return 3, 0, 0, version
