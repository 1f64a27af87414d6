"""The part of the image that comes from wheels: what requirements.lock pins, and Steppe itself."""

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tools.image.debian import PYTHON
from tools.image.tree import Tree, file

SITE = "usr/lib/python3/dist-packages"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_ABIS = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_31", "manylinux_2_34")
_COMPILE = """\
import py_compile, sys
for name in sys.argv[1:]:
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(name, dfile="/" + name, doraise=True, invalidation_mode=mode)
"""


class Wheel(NamedTuple):
    """A Python distribution: its metadata, which has name, version and licence."""

    path: Path
    metadata: Message

    @property
    def name(self) -> str:
        return canonicalize_name(self.metadata["Name"])


def read(path: Path) -> Wheel:
    with zipfile.ZipFile(path) as archive:
        (name,) = (n for n in archive.namelist() if re.fullmatch(r"[^/]*\.dist-info/METADATA", n))
        return Wheel(path, BytesParser().parsebytes(archive.read(name), headersonly=True))


def with_dependencies(own: Path, lock: Path, architecture: str, into: Path) -> list[Wheel]:
    """Steppe's wheel and those that it needs in the image, each as the lock file pins it."""
    pinned = _pinned(lock.read_text())
    found: dict[str, Wheel] = {}
    new = [read(own)]
    while new:
        found |= {wheel.name: wheel for wheel in new}
        missing = {name for wheel in new for name in _needs(wheel, architecture)} - found.keys()
        new = _download([pinned[name] for name in sorted(missing)], architecture, into, found)
    return sorted(found.values())


def _pinned(lock: str) -> dict[str, str]:
    """Name to its lines in the lock file, without markers: the image is one of its environments."""
    whole = lock.replace("\\\n", " ")
    lines = (line for line in whole.splitlines() if "==" in line)
    return {
        canonicalize_name(line.split("==")[0]): re.sub(";.*?(?=--hash)", " ", line)
        for line in lines
    }


def _needs(wheel: Wheel, architecture: str) -> Iterator[str]:
    version = ".".join(map(str, PYTHON))
    environment = {
        "python_version": version,
        "python_full_version": f"{version}.0",
        "extra": "",
        "platform_machine": MACHINES[architecture],
        "sys_platform": "linux",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    for text in wheel.metadata.get_all("Requires-Dist") or ():
        needed = Requirement(text)
        if not needed.marker or needed.marker.evaluate(environment):
            yield canonicalize_name(needed.name)


def _download(
    lines: list[str], architecture: str, into: Path, found: dict[str, Wheel]
) -> list[Wheel]:
    if not lines:
        return []
    wanted = into / "wanted.txt"
    wanted.write_text("\n".join(lines) + "\n")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q"),
            *("--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation=cp"),
            *(f"--python-version={PYTHON[0]}.{PYTHON[1]}", "-d", str(into), "-r", str(wanted)),
            *(f"--platform={abi}_{MACHINES[architecture]}" for abi in _ABIS),
        ],
        check=True,
    )
    wheels = map(read, sorted(into.glob("*.whl")))
    return [wheel for wheel in wheels if wheel.name not in found]


def layer(wheels: list[Wheel]) -> Tree:
    """The wheels' files where Debian's interpreter looks for them, compiled."""
    tree: Tree = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel.path) as archive:
            for name in archive.namelist():
                if name.endswith("/") or ".data/" in name:  # scripts: nobody calls them there
                    continue
                tree[f"{SITE}/{name}"] = file(archive.read(name), 0o644)
    return tree


def compiled(tree: Tree) -> Tree:
    """Byte code of all modules, for a file system that is read-only; not compared with them.

    {} where this interpreter is of another version: the image then starts more slowly.
    """
    if sys.version_info[:2] != PYTHON:
        return {}
    sources = sorted(name for name in tree if name.endswith(".py") and "/lib2to3/" not in name)
    with tempfile.TemporaryDirectory(prefix="steppe-image-") as name:
        root = Path(name)
        for source in sources:
            (root / source).parent.mkdir(parents=True, exist_ok=True)
            (root / source).write_bytes(tree[source].data)
        # One process that does the same each time: byte code depends on the order of sets, and on
        # which strings the interpreter knows already.
        subprocess.run(
            [sys.executable, "-Ss", "-W", "ignore", "-c", _COMPILE, *sources],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            check=True,
        )
        return {
            str(path.relative_to(root)): file(path.read_bytes())
            for path in sorted(root.rglob("*.pyc"))
        }
