"""What kustomization files say of the files and folders around them (kustomize's own reference:
resources, bases, components, patches, generators, …). Nothing is built here.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from steppe.manifests.yaml_text import YamlError, documents_of

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_INPUTS = ("resources", "bases", "components", "crds")
_FILES = (
    *("patchesStrategicMerge", "configurations", "transformers", "generators", "validators"),
    "replacements",
)
_PATHS = ("patches", "patchesJson6902", "replacements", "helmCharts")

_GENERATORS = ("configMapGenerator", "secretGenerator")


class Kustomization(msgspec.Struct, frozen=True):
    """One kustomization: its folder, what it takes in, and files that are no manifests of objects.

    `remote`: resources that are not files of this machine.
    """

    folder: Path
    inputs: tuple[Path, ...] = ()
    changes: tuple[Path, ...] = ()
    remote: tuple[str, ...] = ()

    def used(self, known: Mapping[Path, "Kustomization"]) -> set[Path]:
        """Its folder, and the folders and files that are taken in, by others in between too."""
        found: set[Path] = set()
        todo = [self.folder]
        while todo:
            path = todo.pop()
            if path not in found:
                found.add(path)
                todo += known[path].inputs if path in known else ()
        return found

    def sources(self, known: Mapping[Path, "Kustomization"]) -> set[Path]:
        """The files that are part of what is built, and so are not read by themselves."""
        parts = self.used(known)
        changes = {path for part in parts if part in known for path in known[part].changes}
        return {path for path in parts if path not in known} | changes


def kustomizations_in(folder: Path) -> Iterator[Kustomization]:
    """Every kustomization below a folder; one that cannot be read takes nothing in."""
    for name in NAMES:
        for file in sorted(folder.rglob(name)):
            if file.is_file():
                yield _kustomization(file)


def families_of(known: Mapping[Path, Kustomization]) -> list[tuple[Path, ...]]:
    """The kustomizations that no other one takes in, together with those that share a part."""
    taken = {path for each in known.values() for path in each.inputs if path != each.folder}
    families: list[tuple[list[Path], set[Path]]] = []
    for top in sorted(path for path in known if path not in taken):
        parts = known[top].used(known)
        joined = ([top], parts)
        for family in [each for each in families if each[1] & parts]:
            families.remove(family)
            joined = ([*family[0], *joined[0]], family[1] | joined[1])
        families.append(joined)
    return [tuple(sorted(tops)) for tops, _ in families]


def _kustomization(file: Path) -> Kustomization:
    folder = file.parent
    try:
        content = next((each.content for each in documents_of(file.read_bytes())), None)
    except (OSError, YamlError):
        content = None
    said = content if isinstance(content, dict) else {}
    inputs = [text for field in _INPUTS for text in _texts(said.get(field))]
    remote = tuple(text for text in inputs if _is_remote(text, folder))
    changes = [text for field in _FILES for text in _texts(said.get(field))]
    changes += (text for field in _PATHS for text in _pointed(said.get(field)))
    changes += (text for field in _GENERATORS for text in _generated(said.get(field)))
    return Kustomization(
        folder,
        tuple(_at(folder, text) for text in inputs if text not in remote),
        tuple(_at(folder, text) for text in changes if _is_path(text)),
        remote,
    )


def _texts(value: Any) -> Iterable[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _pointed(value: Any) -> Iterator[str]:
    """The files that entries such as `patches: [{path: FILE}]` name."""
    for item in value if isinstance(value, list) else ():
        for field in ("path", "valuesFile"):
            if isinstance(item, dict) and isinstance(item.get(field), str):
                yield item[field]


def _generated(value: Any) -> Iterator[str]:
    """The files whose contents become ConfigMaps and Secrets: `files: [KEY=FILE, FILE]`."""
    for item in value if isinstance(value, list) else ():
        for field in ("files", "envs"):
            for text in _texts(item.get(field) if isinstance(item, dict) else None):
                yield text.rpartition("=")[2]


def _is_path(text: str) -> bool:
    """Whether it is a file's name, and not a patch written in its place."""
    return "\n" not in text and not text.lstrip().startswith(("{", "["))


def _is_remote(text: str, folder: Path) -> bool:
    return "://" in text or "?ref=" in text or not _is_there(folder / text)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


def _at(folder: Path, text: str) -> Path:
    """The path in the form in which the folder itself is written: without `..`."""
    found = folder
    for part in Path(text).parts:
        if part == "..":
            found = found.parent if found.name not in ("", "..") else found / ".."
        elif part != ".":
            found /= part
    return found
