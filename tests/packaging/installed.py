"""A folder that holds what one distribution of this repository needs, and nothing else.

It is what `pip install steppe` leaves in a fresh environment: the packages that pyproject.toml
declares, and theirs in turn, linked from the environment that the tests run in.
"""

import os
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def pyproject(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def needed(declared: list[str]) -> set[str]:
    """The names of all distributions that these requirements mean, here and with no extras."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in declared]
    while waiting:
        requirement = waiting.pop()
        marker = requirement.marker
        name = canonicalize_name(requirement.name)
        if name in found or (marker and not marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        waiting += map(Requirement, metadata.requires(requirement.name) or ())
    return found


def install_core(target: Path) -> Path:
    """Make a folder with steppe and its dependencies, to be used as a PYTHONPATH."""
    target.mkdir()
    for name in needed(pyproject(ROOT)["project"]["dependencies"]):
        distribution = metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
        for top in tops:
            (target / top).symlink_to(Path(str(distribution.locate_file(top))))
    (target / "steppe").symlink_to(ROOT / "src" / "steppe")
    return target


def run_python(path: Path | str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """An interpreter that sees the standard library and this PYTHONPATH only."""
    return subprocess.run(
        # -S: without the site-packages of this environment; -P: without the working folder.
        [sys.executable, "-S", "-P", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
