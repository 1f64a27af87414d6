"""Every format of every command, on every report: no fault, and nothing that is Python's own."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from steppe.cli.main import main

DATA = Path(__file__).parents[1] / "data"
FILES = sorted([*DATA.glob("reports/*.yaml"), *DATA.glob("demos/*.yaml")])
SHOP = str(Path(__file__).with_name("shop.yaml"))
READ: Mapping[str, Callable[[str], object]] = {
    "json": json.loads,
    "sarif": json.loads,
    "svg": ET.fromstring,
    "csv": lambda text: [row for row in csv.reader(io.StringIO(text)) if len(row) != 6],
}
"""Formats that other programs read, and how; a CSV has no line of another length."""
COMMANDS = (
    *(
        ("reach", "-o", each)
        for each in ("table", "wide", "json", "html", "csv", "md", "dot", "svg")
    ),
    ("reach", "--explain"),
    ("reach", "--exposure"),
    ("reach", "--exposure", "-o", "json"),
    *(("lint", "-o", each) for each in ("text", "json", "sarif")),
    *(("diff", "--base", SHOP, "--whole", "-o", each) for each in ("table", "json", "md", "html")),
)
PYTHONS = ("None", "Cause(", "PortSet(", "frozenset(", "object at 0x", "Traceback")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_format_of_every_report_is_whole(words: tuple[str, ...]) -> None:
    for path in FILES:
        result = CliRunner().invoke(main, [*words, "-f", str(path)])
        assert isinstance(result.exception, SystemExit | None), (path.name, result.exception)
        assert result.exit_code in (0, 1, 2), (path.name, result.output)
        assert not any(text in result.stdout for text in PYTHONS), path.name
        found = READ.get(words[-1], lambda _: None)(result.stdout) if result.stdout else None
        assert words[-1] != "csv" or not found, path.name
