"""Which files of a folder are manifests: not charts, not patches, not what kustomizations consist
of where they can be built.

    Chart.yaml            the folder is a Helm chart: named and left out
    kustomization.yaml    built by `kubectl kustomize`, where there is one; else named, and its
                          resources are read without its patches and other changes
    *.yaml *.yml *.json   manifests

Kustomizations that share a base (overlays of one application) exclude each other: none is built,
and the resources they share are read.
"""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from steppe.client.kustomization import NAMES, Kustomization, families_of, kustomizations_in
from steppe.errors import SteppeError

SUFFIXES = (".yaml", ".yml", ".json")
BUILT_BY = "kubectl kustomize "
"""The names of what was built begin so, and are the command."""
_BUILD_SECONDS = 60
_KLOG = re.compile(r'.*\berr="(.*)"$')


class UnreadableError(SteppeError):
    """A file is missing, or is not YAML or JSON; the message names the place and the reason."""


class Left(msgspec.Struct, frozen=True):
    """Something of a folder that is not read, and why: a sentence without its name."""

    path: Path
    why: str


class Built(msgspec.Struct, frozen=True):
    """The manifests that a program made of a folder."""

    name: str
    content: bytes


def contents_of(folder: Path) -> list[Path | Left | Built]:
    """What is to be read of a folder, by name; UnreadableError if there is nothing."""
    files = sorted(p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.is_file())
    charts = _outermost(path.parent for path in files if path.name == "Chart.yaml")
    known = {k.folder: k for k in kustomizations_in(folder) if not _below(k.folder, charts)}
    notes: list[Left | Built] = [Left(chart, _chart(chart)) for chart in charts]
    left = {path for path in files if _below(path.parent, charts)}
    for family in families_of(known):
        notes += _built(family, known, left)
    rest = [path for path in files if path not in left and path.name not in NAMES]
    if not rest and not any(isinstance(note, Built) for note in notes):
        why = "; ".join(f"{note.path} {note.why}" for note in notes if isinstance(note, Left))
        raise UnreadableError(why or f"there is no manifest ({', '.join(SUFFIXES)}) below {folder}")
    return [*notes, *rest]


def _chart(folder: Path) -> str:
    return (
        "is a Helm chart, so it is left out; "
        f"`helm template {folder} | steppe … -f -` reads what it makes"
    )


def _built(
    family: tuple[Path, ...], known: dict[Path, Kustomization], left: set[Path]
) -> Iterator[Left | Built]:
    """The outcome for kustomizations that belong together; files not to be read join `left`.

    `family`: those that no other one uses; they have a base in common if there are several.
    """
    parts = {path for top in family for path in known[top].used(known)}
    content, why = _attempt(family, known, parts)
    if content is None:
        left.update(file for part in parts if part in known for file in known[part].changes)
        yield Left(family[0] if len(family) == 1 else _common(family), why)
        return
    own = {path for top in family for path in known[top].sources(known)}
    left |= own
    yield Built(f"{BUILT_BY}{family[0]}", content)


def _attempt(
    family: tuple[Path, ...], known: dict[Path, Kustomization], parts: set[Path]
) -> tuple[bytes | None, str]:
    """What the family's kustomization makes; None and the reason if it is not built."""
    read = "its resources are read without its patches"
    if len(family) > 1:
        names = ", ".join(path.name for path in family)
        return None, (
            f"has kustomizations that exclude each other ({names}), so none is built and the "
            f"resources they share are read without patches; name one: -f {family[0]}"
        )
    remote = [each for part in parts if part in known for each in known[part].remote]
    if remote:
        return None, f"is a kustomization of {remote[0]}, which is elsewhere; {read}"
    kubectl = shutil.which("kubectl")
    command = f"`kubectl kustomize {family[0]} | steppe … -f -`"
    if kubectl is None:
        return None, f"is a kustomization, and there is no kubectl to build it; {read}; {command}"
    try:
        done = subprocess.run(
            [kubectl, "kustomize", str(family[0])],
            capture_output=True,
            check=False,
            timeout=_BUILD_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"is a kustomization that kubectl did not build ({error}); {read}"
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        said = (found[1] if (found := _KLOG.fullmatch(said)) else said)[:300]
        return None, f"is a kustomization that kubectl cannot build ({said}); {read}"
    return done.stdout, ""


def _common(paths: Iterable[Path]) -> Path:
    """The folder around all of these."""
    first, *others = paths
    return next(
        (up for up in (first, *first.parents) if all(up in (p, *p.parents) for p in others)), first
    )


def _outermost(folders: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for folder in sorted(set(folders)):
        if not _below(folder, found):
            found.append(folder)
    return found


def _below(path: Path, folders: Iterable[Path]) -> bool:
    return any(folder in (path, *path.parents) for folder in folders)
