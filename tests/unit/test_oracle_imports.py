"""The oracle is independent: it may know the API's objects and plain values, and nothing else."""

import ast
from pathlib import Path

import pytest

import steppe.oracle

ALLOWED = ("collections", "fractions", "functools", "itertools", "typing", "msgspec")
OWN = ("steppe.net", "steppe.kube", "steppe.oracle")
MODULES = sorted(Path(steppe.oracle.__path__[0]).glob("*.py"))


def imported(module: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_a_module_of_the_oracle_imports_net_and_kube_alone(module: Path) -> None:
    """import-linter names what is forbidden; a package made later is on no such list."""
    foreign = {
        name
        for name in imported(module)
        if name.partition(".")[0] not in ALLOWED and not name.startswith(OWN)
    }
    assert foreign == set()
