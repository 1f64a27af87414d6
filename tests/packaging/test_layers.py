"""The layers that import-linter holds: a package that is in none of them may import anything."""

from pathlib import Path

import pytest

from tests.packaging.installed import ROOT, pyproject

# Executed by runtimes alone: tools/limits.py holds it to the standard library.
APART = {"steppe.cni"}


@pytest.mark.parametrize(("package", "folder"), [("steppe", ROOT), ("steppe_lab", ROOT / "lab")])
def test_every_package_has_its_layer(package: str, folder: Path) -> None:
    contracts = pyproject(ROOT)["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["type"] == "layers")
    listed = {name.strip(" ()") for layer in layers for name in layer.replace(":", "|").split("|")}
    source = folder / "src" / package
    present = {
        f"{package}.{path.stem}"
        for path in source.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert present - listed - APART == {f"{package}.__init__"}
