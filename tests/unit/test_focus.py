"""`--focus WHO`: both directions of a workload, in reach, in diff and in exposure; `--port`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from steppe.cli.main import main
from tests.unit.test_diff_cli import CHANGED

SHOP = Path(__file__).with_name("shop.yaml")


def run(*words: object) -> Result:
    text = list(map(str, words))
    return CliRunner().invoke(main, text, env={"COLUMNS": "200"}, catch_exceptions=False)


def names(said: dict, numbers: list[int]) -> set[str]:
    return {said["groups"][number]["name"].partition(" (")[0] for number in numbers}


def test_reach_tells_what_a_workload_reaches_and_who_reaches_it() -> None:
    said = json.loads(run("reach", "-f", SHOP, "--focus", "shop/db", "-o", "json").stdout)
    whole = json.loads(run("reach", "-f", SHOP, "-o", "json").stdout)
    ends = [(names(said, flow["from"]), names(said, [flow["to"]])) for flow in said["flows"]]
    assert ends
    assert all("shop/db" in senders | receivers for senders, receivers in ends)
    to_it = set().union(*(senders for senders, receivers in ends if "shop/db" in receivers))
    assert to_it >= {"shop/web", "shop/api", "all nodes"}
    reached = {name for senders, receivers in ends if "shop/db" in senders for name in receivers}
    assert reached >= {"shop/web", "shop/api"}
    # Its own Service is asked for everybody, another for it alone.
    senders = {"shop/db": set(), "shop/web": set()}
    for offer in said["services"]:
        for each in offer["answers"]:
            if offer["way"] == "cluster" and offer["service"] in senders:
                senders[offer["service"]] |= names(said, each["from"])
    assert senders["shop/web"] == {"shop/db"}
    assert len(senders["shop/db"]) > 1
    assert len(said["flows"]) < len(whole["flows"])


@pytest.mark.parametrize("output", ["table", "wide", "json", "html", "csv", "md", "dot", "svg"])
def test_every_format_takes_a_focus_and_a_port(output: str) -> None:
    words = ("reach", "-f", SHOP, "--focus", "shop/db", "--port", "5432", "-o", output)
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "shop/db" in result.stdout
    assert result.stdout != run(*words[:3], "-o", output).stdout


def changed(tmp_path: Path, *options: str) -> Result:
    path = tmp_path / "change.yaml"
    path.write_text(CHANGED)
    return run("diff", "--base", SHOP, "-f", path, *options)


def test_diff_tells_the_flows_of_the_focus_alone(tmp_path: Path) -> None:
    said = json.loads(changed(tmp_path, "--focus", "shop/api", "-o", "json").stdout)
    for flow in said["flows"]:
        assert "shop/api" in names(said, flow["from"]) | names(said, [flow["to"]])
    assert {each["service"] for each in said["services"]} == {"shop/db"}
    assert {name for c in said["services"] for name in names(said, c["from"])} == {"shop/api"}
    assert said["tables"] is None


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--port", "5432"), 1),
        (("--port", "5432", "--focus", "shop/api"), 1),
        (("--port", "9187", "--focus", "shop/api"), 0),
        (("--port", "22"), 0),
        (("--focus", "shop/nobody"), 2),
        (("--focus", "svc/shop/db"), 2),
    ],
)  # fmt: skip
def test_diff_counts_only_what_was_asked_for(
    tmp_path: Path, options: tuple[str, ...], code: int
) -> None:
    result = changed(tmp_path, "--fail-on", "deny", *options)
    assert result.exit_code == code, result.output


def test_a_focus_that_is_gone_is_still_told(tmp_path: Path) -> None:
    path = tmp_path / "gone.yaml"
    path.write_text(
        "kind: Deployment\napiVersion: apps/v1\nmetadata: {name: api, namespace: shop}\n"
    )
    result = run("diff", "--base", SHOP, "-f", path, "--delete", "--focus", "shop/api")
    assert result.exit_code in (0, 1), result.output


def test_exposure_of_one_workload() -> None:
    said = json.loads(
        run("reach", "-f", SHOP, "--exposure", "--focus", "shop/db", "-o", "json").stdout
    )
    assert said["flows"]
    for flow in said["flows"]:
        assert names(said, flow["others"]) == {"shop/db"}
    assert all(each["pod"].startswith("shop/db-") for each in said["unguarded"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--focus", "shop/db", "--to", "shop/web"), "--focus is both directions"),
        (("--focus", "svc/shop/db"), "name the pods behind it"),
        (("--focus", "shop/dbb"), "did you mean"),
    ],
)
def test_a_focus_that_cannot_be_is_told_why(words: tuple[str, ...], said: str) -> None:
    result = run("reach", "-f", SHOP, *words)
    assert result.exit_code == 2
    assert said in result.output
