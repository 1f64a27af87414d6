"""The part of the image that comes from Debian: an interpreter, libnftables, nft. No shell."""

import fnmatch
import io
import re
import subprocess
import tempfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path
from typing import NamedTuple

from tools.image.tree import Entry, Tree, file, folder, read_tar, symlink

SUITE = "bookworm"
PYTHON = (3, 11)
"""The version of Python in SUITE."""
WANTED = ("base-files", "python3-minimal", "libpython3-stdlib", "nftables")

WITHOUT = frozenset(
    (
        *("dpkg", "tar", "mawk", "debconf", "libacl1", "libselinux1", "libpcre2-8-0"),
        *("libdb5.3", "libsqlite3-0", "libncursesw6", "libreadline8", "readline-common"),
        *("libnsl2", "libtirpc3", "libtirpc-common", "libcom-err2", "libgssapi-krb5-2"),
        *(
            "libk5crypto3",
            "libkeyutils1",
            "libkrb5-3",
            "libkrb5support0",
            "media-types",
            "libcrypt1",
        ),
    )
)
"""Packages that others depend on, and nothing of ours: their scripts, and modules in LEFT_OUT.
What is not there needs no updates."""

LEFT_OUT = (
    "usr/share/doc/*/[!c]*",  # of the documentation, the copyright files stay
    "usr/share/doc/*/changelog*",
    "usr/share/man/*",
    "usr/share/info/*",
    "usr/share/locale/*",
    "usr/share/perl5/*",
    "usr/share/lintian/*",
    "usr/share/bash-completion/*",
    "usr/share/bug/*",
    "usr/share/pixmaps/*",
    "usr/share/applications/*",
    "usr/share/binfmts/*",
    "usr/share/python3/*",
    "usr/lib/binfmt.d/*",
    "usr/lib/*/gconv/*",
    "etc/profile*",
    "etc/update-motd.d/*",
    "lib/systemd/*",
    *(
        f"usr/lib/python3.11/{module}"
        for module in (
            *(
                "pydoc_data/*",
                "lib2to3/*",
                "ensurepip/*",
                "idlelib/*",
                "turtledemo/*",
                "distutils/*",
            ),
            *("sqlite3/*", "dbm/*", "curses/*", "lib-dynload/nis.*", "lib-dynload/_dbm.*"),
            *("lib-dynload/_sqlite3.*", "lib-dynload/_curses*", "lib-dynload/readline.*"),
            *("lib-dynload/_crypt.*", "lib-dynload/_test*", "lib-dynload/_xxtest*"),
        )
    ),
)
"""Files that nobody reads in a container."""

# Any user may run the image; these two have names. `files` first: kubelet writes /etc/hosts.
_OURS: Tree = {
    "etc/passwd": file(
        "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"
    ),
    "etc/group": file("root:x:0:\nnonroot:x:65532:\n"),
    "etc/nsswitch.conf": file("hosts: files dns\n"),
    "run": folder(),
    "tmp": folder(0o1777),
    "var/run": symlink("/run"),
    "usr/bin/python3": symlink("python3.11"),
}


class Package(NamedTuple):
    """A Debian package, with the fields of its control file."""

    name: str
    version: str
    architecture: str
    control: str


def download(architecture: str, folder_: Path) -> list[Path]:
    """The packages that WANTED needs, by the order of their names; mmdebstrap asks the mirror."""
    root = folder_ / "root"
    subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=extract", "--skip=cleanup/apt/cache"),
            *(f"--architectures={architecture}", f"--include={','.join(WANTED)}", SUITE, str(root)),
        ],
        check=True,
    )
    return sorted((root / "var/cache/apt/archives").glob("*.deb"))


def layer(architecture: str) -> tuple[Tree, list[Package]]:
    """Files and packages of the base."""
    tree: Tree = {}
    packages = []
    with tempfile.TemporaryDirectory(prefix="steppe-image-") as name:
        for path in download(architecture, Path(name)):
            package = _package(path)
            if package.name in WITHOUT:
                continue
            packages.append(package)
            tree |= dict(_files(path))
            # Where scanners look for packages in an image without dpkg.
            tree[f"var/lib/dpkg/status.d/{package.name}"] = file(package.control)
    return tree | _OURS, packages


def _package(path: Path) -> Package:
    control = _run("dpkg-deb", "--field", str(path)).decode()
    fields = Parser().parsestr(control)
    return Package(fields["Package"], fields["Version"], fields["Architecture"], control)


def _files(path: Path) -> Iterator[tuple[str, Entry]]:
    tree = read_tar(io.BytesIO(_run("dpkg-deb", "--fsys-tarfile", str(path))))
    unwanted = re.compile("|".join(map(fnmatch.translate, LEFT_OUT)))
    yield from ((name, entry) for name, entry in tree.items() if not unwanted.match(name))


def _run(*command: str) -> bytes:
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
