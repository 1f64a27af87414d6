"""What the two wheels hold: every file of a package, and every folder of code as a package."""

from pathlib import Path

import pytest

from tests.packaging.installed import ROOT, pyproject

DISTRIBUTIONS = (("steppe", ROOT), ("steppe_lab", ROOT / "lab"))


@pytest.mark.parametrize(("package", "folder"), DISTRIBUTIONS)
def test_files_that_are_no_code_are_declared_as_package_data(package: str, folder: Path) -> None:
    source = folder / "src" / package
    patterns = pyproject(folder)["tool"]["setuptools"]["package-data"][package]
    declared = {path for pattern in patterns for path in source.glob(pattern)}
    present = {
        path
        for path in source.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert present - declared == set()
    assert present


@pytest.mark.parametrize(("package", "folder"), DISTRIBUTIONS)
def test_a_folder_of_modules_is_a_package(package: str, folder: Path) -> None:
    folders = {path.parent for path in (folder / "src" / package).rglob("*.py")}
    assert [path for path in folders if not (path / "__init__.py").exists()] == []


def test_what_only_the_lab_needs_is_not_asked_of_the_core() -> None:
    core, lab = (pyproject(folder)["project"]["dependencies"] for _, folder in DISTRIBUTIONS)
    assert {"cryptography", "dnspython", "jsonpatch"} == {
        text.partition(">")[0] for text in set(lab) - set(core) if not text.startswith("steppe")
    }
