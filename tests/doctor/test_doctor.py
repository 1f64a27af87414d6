"""What `steppe doctor` says, and that its probes tell there from not there."""

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from steppe.cli import doctor as command
from steppe.drivers.requirements.attempt import in_namespace
from steppe.drivers.requirements.catalogue import ALL
from steppe.drivers.requirements.kernel import nft
from steppe.drivers.requirements.model import (
    Level,
    Outcome,
    Requirement,
    State,
    examine,
    missing,
    ok,
    unknown,
)


def need(level: Level, outcome: Outcome) -> Requirement:
    return Requirement("thing", level, "to have it", "buy it", lambda: outcome)


@pytest.mark.parametrize(
    ("level", "outcome", "blocks"),
    [
        (Level.REQUIRED, ok("here"), False),
        (Level.REQUIRED, missing("gone"), True),
        # Not tried is not there: better a false alarm than a failure later.
        (Level.REQUIRED, unknown("only root can try"), True),
        (Level.OPTIONAL, missing("gone"), False),
        (Level.INFO, unknown("no such file"), False),
    ],
)
def test_only_what_is_required_and_not_seen_blocks(level, outcome, blocks):
    (finding,) = examine((need(level, outcome),))
    assert finding.blocks is blocks
    assert (finding.cure == "buy it") is (outcome.state is not State.OK)
    said = command.line(finding)
    assert outcome.found in said
    assert "to have it" in said
    assert "\n" not in said


def test_findings_come_in_the_order_of_the_requirements():
    names = [f"r{number}" for number in range(40)]
    needs = tuple(Requirement(name, Level.INFO, "", "", ok) for name in names)
    assert [finding.name for finding in examine(needs)] == names


def test_every_requirement_says_what_for_and_how_to_get_it():
    assert len({requirement.name for requirement in ALL}) == len(ALL)
    for requirement in ALL:
        assert requirement.purpose
        assert requirement.cure or requirement.level is Level.INFO


@pytest.mark.parametrize(("outcome", "code"), [(ok(), 0), (missing(), 1)])
def test_the_exit_code_and_the_json_say_the_same(monkeypatch, outcome, code):
    monkeypatch.setattr(command, "ALL", (need(Level.REQUIRED, outcome),))
    result = CliRunner().invoke(command.doctor, ["-o", "json"])
    report = json.loads(result.stdout)
    assert result.exit_code == code
    assert report["schema"] == "steppe.doctor/v1"
    assert report["ok"] is (code == 0)
    assert [entry["name"] for entry in report["requirements"]] == ["thing"]


def test_bad_usage_is_exit_code_2():
    assert CliRunner().invoke(command.doctor, ["-o", "xml"]).exit_code == 2


def test_a_program_that_is_not_there_leaves_the_answer_open():
    outcome = in_namespace("no-such-program")
    assert outcome.state is State.UNKNOWN
    assert "no-such-program" in outcome.found


@pytest.mark.kernel
def test_what_the_kernel_refuses_is_missing_with_its_reason():
    outcome = in_namespace("ip", "link", "add", "doctor0", "type", "nonsense")
    assert outcome == missing("Error: Unknown device type.")
    assert nft("set s { type nonsense; }").state is State.MISSING


@pytest.mark.kernel
def test_the_machines_own_namespace_stays_as_it_was():
    def seen() -> tuple[str, str, str]:
        links = subprocess.run(("ip", "-o", "link"), capture_output=True, text=True, check=True)
        rules = subprocess.run(
            ("nft", "list", "ruleset"), capture_output=True, text=True, check=True
        )
        forwarding = Path("/proc/sys/net/ipv4/ip_forward").read_text()
        return links.stdout, rules.stdout, forwarding

    before = seen()
    findings = tuple(examine(ALL))
    assert seen() == before
    # The tests run where Steppe can: all that is required is here.
    assert [finding for finding in findings if finding.blocks] == []
