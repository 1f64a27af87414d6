"""Which cluster a command is about, and what is said where none can be had."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from steppe.cli.main import main
from steppe_lab import record


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-f", "no-such.yaml"], "cannot read no-such.yaml: No such file"),
        (["--kubeconfig", "no-such"], "cannot read kubeconfig no-such"),
        (["-f", "x", "--kubeconfig", "y"], "give one of -f, --kubeconfig and --lab"),
        (["--lab", "no-such-lab"], "there is no lab 'no-such-lab'"),
        (["--lab", "../x"], "cannot name a lab"),
        ([], "-f FILE reads manifests"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "LABS_DIR", tmp_path)
    result = CliRunner().invoke(main, ["lint", *arguments])
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output


def test_of_several_labs_one_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lab.json").touch()
    monkeypatch.setattr(record, "LABS_DIR", tmp_path)
    result = CliRunner().invoke(main, ["lint"])
    assert result.exit_code == 2
    assert "several labs are up (one, two): say --lab NAME" in result.output


def test_a_context_is_chosen_by_name(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text("{current-context: a, contexts: [{name: a, context: {cluster: a}}]}")
    result = CliRunner().invoke(
        main, ["lint", "--kubeconfig", str(kubeconfig), "--context", "elsewhere"]
    )
    assert result.exit_code == 2
    assert "has no context named 'elsewhere'" in result.output
