"""`steppe audit` as people read it: what is surely amiss first, each thing with its cure."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from steppe.cli import show
from steppe.cli.audit_text import audit_lines


def answer(*others: dict[str, Any]) -> dict[str, Any]:
    return {
        "node": "node-a",
        "entries": 62,
        "repaired": False,
        "differences": [],
        "flows": [],
        "others": list(others),
    }


def other(entry: str, *, sure: bool) -> dict[str, Any]:
    return {"entry": entry, "text": f"what {entry} does", "cure": "do this", "sure": sure}


BLACK = other("route 10.244.2.0/24 metric 0 blackhole", sure=True)
FIREWALL = other("inet firewall forward (hook forward): drop", sure=False)


def test_what_surely_stops_packets_stands_before_what_may() -> None:
    lines = [click.unstyle(each) for each in audit_lines([answer(FIREWALL, BLACK)])]
    assert lines == [
        "node-a: 62 entries, all as they shall be",
        "  not Steppe's, and it stops packets or leads them elsewhere:",
        f"    {BLACK['entry']}",
        f"      {BLACK['text']}",
        "      cure: do this",
        "  not Steppe's, but it may stop packets or change them:",
        f"    {FIREWALL['entry']}",
        f"      {FIREWALL['text']}",
        "      cure: do this",
    ]


def test_what_somebody_has_changed_in_steppe_s_own_table_comes_first() -> None:
    drop = other("inet steppe forward (hook forward): drop", sure=True) | {"kind": "own table"}
    lines = [click.unstyle(each) for each in audit_lines([answer(BLACK, drop)])]
    assert lines[1] == "  somebody has changed Steppe's own table:"
    assert lines[2].strip() == drop["entry"]
    assert lines[5] == "  not Steppe's, and it stops packets or leads them elsewhere:"


def test_of_many_things_the_first_are_shown() -> None:
    many = [other(f"rule {number}", sure=False) for number in range(25)]
    lines = [click.unstyle(each) for each in audit_lines([answer(*many)])]
    assert sum(line.startswith("    rule ") for line in lines) == 20
    assert lines[-1] == "    and 5 more: -o json lists them"


@pytest.mark.parametrize(
    ("others", "code"), [((), 0), ((FIREWALL,), 0), ((BLACK,), 1), ((FIREWALL, BLACK), 1)]
)
def test_the_exit_code_is_1_where_packets_are_surely_stopped(
    monkeypatch: pytest.MonkeyPatch, others: tuple[dict[str, Any], ...], code: int
) -> None:
    def asked(*_: object, **__: object) -> list[dict[str, Any]]:
        return [answer(*others)]

    monkeypatch.setattr(show, "ask", asked)
    assert CliRunner().invoke(show.audit, []).exit_code == code
