"""Files and folders as a git revision has them, for `steppe diff --base REV`.

git(1) does the reading; nothing in the work tree or the repository is changed. What a revision does
not have yet is nothing there: a folder that was added since was empty.
"""

import contextlib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from steppe.client.folders import SUFFIXES
from steppe.client.kustomization import NAMES
from steppe.errors import SteppeError


class RevisionError(SteppeError):
    """Not a revision of the repository, or git cannot read it."""


@contextlib.contextmanager
def at_revision(revision: str, names: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """These files and folders as they were at `revision`, in a folder that is deleted afterwards.

    RevisionError, also for names in no repository, or in several.
    """
    paths = [Path(name).resolve() for name in names]
    top = _repository(paths)
    commit = _git(
        top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
    )
    if commit is None:
        raise RevisionError(f"{revision} is neither a file nor a revision of the repository {top}")
    inside = [str(path.relative_to(top)) for path in paths]
    known = [
        name
        for name in inside
        if _git(top, "cat-file", "-e", f"{_text(commit)}:{_spec(name)}") is not None
    ]
    with tempfile.TemporaryDirectory(prefix="steppe-revision-") as folder:
        for name in known:
            packed = _git(top, "archive", "--format=tar", _text(commit), "--", name)
            if packed is None:
                raise RevisionError(f"git cannot read {name} at {revision}")
            try:
                _unpack(packed, Path(folder).resolve())
            except tarfile.TarError as error:
                raise RevisionError(f"{name} at {revision} is not read: {error}") from error
        yield tuple(str(Path(folder) / name) for name in known)


def _repository(paths: list[Path]) -> Path:
    tops = set()
    for path in paths:
        top = _git(path if path.is_dir() else path.parent, "rev-parse", "--show-toplevel")
        if top is None:
            raise RevisionError(f"{path} is in no git repository, so it has no revisions")
        tops.add(Path(_text(top)))
    if len(tops) != 1:
        raise RevisionError("give files of one git repository to compare with a revision of it")
    return tops.pop()


def _unpack(packed: bytes, folder: Path) -> None:
    """The files of an archive, in the folder and nowhere else; a link out of it is left out, if it
    is no manifest. (tarfile has filters from Python 3.11.4 on; Debian 12 has 3.11.2.)
    """
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            path = folder / member.name
            aim = path.parent / member.linkname if member.issym() else path
            if not aim.resolve().is_relative_to(folder):
                if path.suffix in SUFFIXES or path.name in NAMES:
                    raise tarfile.ExtractError(f"{member.name!r} is a link to {member.linkname}")
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if member.isdir():
                path.mkdir(exist_ok=True)
            elif member.issym():
                path.symlink_to(member.linkname)
            elif (content := archive.extractfile(member)) is not None:
                path.write_bytes(content.read())


def _spec(name: str) -> str:
    """A path in a revision; the whole tree is the empty one."""
    return "" if name == "." else name


def _git(folder: Path, *words: str) -> bytes | None:
    """What it prints; None where it fails. RevisionError if there is no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RevisionError(f"git cannot be asked: {error}") from error
    return done.stdout if done.returncode == 0 else None


def _text(printed: bytes) -> str:
    return printed.decode().strip()
