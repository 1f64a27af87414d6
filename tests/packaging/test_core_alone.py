"""steppe without steppe-lab: what a node's image and a laptop that only asks questions install."""

from pathlib import Path

import pytest

from tests.packaging.installed import install_core, run_python

MAIN = "import sys; from steppe.cli.main import main; sys.argv[0] = 'steppe'; main()"
IMPORT_ALL = """
import importlib, pkgutil, steppe
names = [each.name for each in pkgutil.walk_packages(steppe.__path__, "steppe.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""
APP = ("-f", "examples/app.yaml")


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_core(tmp_path_factory.mktemp("core") / "site")


def test_the_lab_and_its_libraries_are_not_there(core: Path) -> None:
    for name in ("steppe_lab", "cryptography", "dns", "jsonpatch"):
        done = run_python(core, "-c", f"import {name}")
        assert f"No module named '{name}'" in done.stderr


def test_every_module_can_be_imported(core: Path) -> None:
    done = run_python(core, "-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("explain", "deploy/default/web", "svc/default/db", "--port", "5432", *APP),
            "default/web-0 reaches",
        ),
        (("reach", *APP), "default/*"),
        (("lint", *APP), "nothing found"),
        (("diff", *APP, "--base", "examples/app.yaml"), "Nothing changes"),
        (("status", "--help"), "agent"),
        (("audit", "--help"), "kernel"),
        (("doctor", "--help"), "machine"),
        (("--help",), "verify"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_commands_that_need_no_lab_work(core: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run_python(core, "-c", MAIN, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout


@pytest.mark.parametrize("daemon", ["steppe.agent", "steppe.controller"])
def test_the_daemons_start(core: Path, daemon: str) -> None:
    done = run_python(core, "-m", daemon, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--kubeconfig" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("lab", "up"), "`steppe lab`"),
        (("verify",), "`steppe verify`"),
        (("lint", "--lab", "one"), "--lab NAME"),
    ],
)
def test_what_the_lab_brings_says_in_one_line_what_to_install(
    core: Path, arguments: tuple[str, ...], what: str
) -> None:
    done = run_python(core, "-c", MAIN, *arguments)
    assert done.returncode == 2
    assert done.stderr == (
        f"Error: {what} comes with steppe-lab, which is not installed: pip install steppe-lab\n"
    )


def test_without_a_lab_one_is_not_offered_as_a_cluster(core: Path) -> None:
    done = run_python(core, "-c", MAIN, "lint")
    assert done.returncode == 2
    assert "-f FILE reads manifests" in done.stderr
    assert "lab" not in done.stderr


@pytest.fixture
def toy(core: Path, tmp_path: Path) -> str:
    """The core and a distribution that adds two commands to it, one of which is broken."""
    metadata = tmp_path / "toy-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: toy\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[steppe.commands]\ntoy = toy:command\nbroken = toy.missing:command\n"
    )
    (tmp_path / "toy.py").write_text(
        "import click\n@click.command()\ndef command(): click.echo('a toy')\n"
    )
    return f"{core}:{tmp_path}"


def test_a_command_of_any_distribution_is_found_by_its_entry_point(toy: str) -> None:
    done = run_python(toy, "-c", MAIN, "toy")
    assert (done.returncode, done.stdout) == (0, "a toy\n")


def test_a_command_that_cannot_be_loaded_is_one_line_with_its_cause(toy: str) -> None:
    done = run_python(toy, "-c", MAIN, "broken")
    assert done.returncode == 2
    assert done.stderr == (
        "Error: 'broken' of toy cannot be loaded: "
        "No module named 'toy.missing'; 'toy' is not a package\n"
    )


def test_help_imports_no_command_and_looks_up_no_plugin(core: Path) -> None:
    """It costs little more than Python and click."""
    done = run_python(
        core,
        "-c",
        "import sys; from steppe.cli.main import main;"
        "main(['--help'], standalone_mode=False); print(*sys.modules, file=sys.stderr)",
    )
    loaded = set(done.stderr.split())
    assert "click" in loaded
    assert {"importlib.metadata", "msgspec", "asyncio"} & loaded == set()
    ours = {name for name in loaded if name.startswith("steppe")}
    assert ours == {
        "steppe",
        "steppe.cli",
        "steppe.cli.main",
        "steppe.cli.plugins",
        "steppe.cli.terminal",
        "steppe.errors",
        "steppe.printable",
    }
