"""The files of an image, in memory: no root is needed to give them to root."""

import io
import posixpath
import tarfile
from typing import IO, NamedTuple


class Entry(NamedTuple):
    """A file, a folder or a link, owned by root."""

    kind: bytes
    """tarfile's REGTYPE, DIRTYPE, SYMTYPE or LNKTYPE."""
    mode: int
    data: bytes = b""
    target: str = ""
    """Where a link leads; of a hard link, a path in the same tree."""


Tree = dict[str, Entry]
"""Path, without a first slash, to entry."""


def file(data: bytes | str, mode: int = 0o644) -> Entry:
    return Entry(tarfile.REGTYPE, mode, data.encode() if isinstance(data, str) else data)


def folder(mode: int = 0o755) -> Entry:
    return Entry(tarfile.DIRTYPE, mode)


def symlink(target: str) -> Entry:
    return Entry(tarfile.SYMTYPE, 0o777, target=target)


def read_tar(stream: IO[bytes]) -> Tree:
    """The members of a tar archive; ValueError for a kind that no image of ours needs."""
    tree: Tree = {}
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            path = clean(member.name)
            if not path:
                continue
            if member.type not in (
                tarfile.REGTYPE,
                tarfile.DIRTYPE,
                tarfile.SYMTYPE,
                tarfile.LNKTYPE,
            ):
                raise ValueError(f"{path} is neither file nor folder nor link")
            read = archive.extractfile(member) if member.isreg() else None
            data = read.read() if read else b""
            target = clean(member.linkname) if member.islnk() else member.linkname
            tree[path] = Entry(member.type, member.mode, data, target)
    return tree


def clean(name: str) -> str:
    """The path without a first slash or `./`; "" for the root."""
    path = posixpath.normpath(name).lstrip("/")
    return "" if path == "." else path


def write_tar(tree: Tree, stream: IO[bytes], epoch: int) -> None:
    """The same bytes for the same tree: sorted, one time, one owner. Parents are added."""
    whole = dict(tree)
    for path in tree:
        parts = path.split("/")[:-1]
        for number in range(1, len(parts) + 1):
            whole.setdefault("/".join(parts[:number]), folder())
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        # Hard links after the files that they lead to.
        for path in sorted(whole, key=lambda path: (whole[path].kind == tarfile.LNKTYPE, path)):
            entry = whole[path]
            member = tarfile.TarInfo(path)
            member.type, member.mode, member.mtime = entry.kind, entry.mode, epoch
            member.linkname, member.size = entry.target, len(entry.data)
            archive.addfile(member, io.BytesIO(entry.data))
