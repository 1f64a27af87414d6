"""BIRD's configuration: stable, safe with any text, and taken by BIRD itself."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from steppe.bgp.render import render
from steppe.bgp.tables import BgpTables
from steppe.bgp.text import is_password, symbol, words
from tests.bgp.worlds import (
    HOSTILE,
    bgp_peer,
    bgp_settings,
    labelled,
    needs_bird,
    tables_of,
    verdict,
    worlds,
)
from tests.worlds import node_at

NODES = [node_at(index) for index in range(3)]
# What stands between quotes in the file, and nothing else may.
QUOTED = re.compile(r"\"[^\"\n]*\"|'[A-Za-z0-9_.:-]*'")
OUTSIDE = re.compile(r"[A-Za-z0-9 \n./:,;(){}\[\]=!~|&<>+_-]*")


@given(worlds())
def test_no_text_of_an_object_leaves_its_string(world: tuple[BgpTables, dict[str, str]]) -> None:
    tables, given_ = world
    text = render(tables, given_)
    # A comment begins at "#", and no string but a password has one.
    bare = re.sub(r"password \"[^\"\n]*\"", "password Q", text)
    bare = QUOTED.sub("Q", bare)
    bare = "\n".join(line.partition("#")[0] for line in bare.splitlines())
    assert OUTSIDE.fullmatch(bare), bare
    protocols = re.findall(r"^protocol bgp .*\{$", bare, re.MULTILINE)
    assert len(protocols) == len(tables.sessions)
    assert "include" not in bare


@given(worlds())
def test_equal_tables_give_equal_bytes(world: tuple[BgpTables, dict[str, str]]) -> None:
    tables, given_ = world
    turned = BgpTables(
        tables.router_id,
        *(
            dict(reversed(list(each.items())))
            for each in (tables.sessions, tables.announcements, tables.filters)
        ),
        tables.sources,
    )
    assert render(turned, given_) == render(tables, given_)


@needs_bird
@pytest.mark.slow
@pytest.mark.timeout(900)
@hypothesis_settings(
    max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(world=worlds())
def test_bird_takes_every_configuration(
    tmp_path: Path, world: tuple[BgpTables, dict[str, str]]
) -> None:
    tables, given_ = world
    assert verdict(tmp_path, render(tables, given_)) == ""


EVERYTHING = bgp_peer(
    "tor-a",
    address="192.0.2.254",
    asn=65001,
    bfd=True,
    hops=2,
    passwordKey="tor",
    communities=["64512:100", "64512:1:2"],
    **{
        "import": [
            {"prefix": "10.9.0.0/16", "maxLength": 24},
            {"prefix": "10.0.0.0/8", "maxLength": 32, "action": "Reject"},
            {"prefix": "::/0"},
        ],
        "export": [{"prefix": "10.244.0.0/16", "maxLength": 24}],
    },
)


@needs_bird
def test_bird_takes_one_with_everything_in_it(tmp_path: Path) -> None:
    nodes = [labelled(node, rr="yes") for node in NODES]
    settings = bgp_settings(
        reflectors={"matchLabels": {"rr": "yes"}}, passwordKey="tor", gracefulRestartSeconds=60
    )
    unnumbered = bgp_peer("spine", interface="eth0", asn=65009)
    tables, problems = tables_of(nodes, [EVERYTHING, unnumbered], settings, {"tor": "s3 cret'#"})
    assert problems == ()
    assert len(tables.sessions) == 4
    text = render(tables, {"tor": "s3 cret'#"})
    assert verdict(tmp_path, text) == ""
    assert text.count('password "s3 cret\'#";') == 3


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_that_bird_does_not_know_becomes_one_that_it_does(text: str) -> None:
    assert re.fullmatch(r"'[A-Za-z0-9_.:-]{1,60}'", symbol("out4", f"peer:{text}"))
    assert symbol(f"peer:{text}") == symbol(f"peer:{text}")
    assert not re.search(r'["\n\\{};]', words(text))


def test_names_that_differ_stay_different() -> None:
    assert len({symbol(f"peer:{text}") for text in HOSTILE}) == len(HOSTILE)


@pytest.mark.parametrize(
    ("text", "taken"),
    [("s3cret", True), ("with space", True), ('q"q', False), ("", False), ("é", False),
     ("x" * 80, True), ("x" * 81, False), ("a\nb", False), ("a\n", False)],
)  # fmt: skip
def test_a_password_is_one_that_stays_in_its_string(text: str, taken: bool) -> None:
    assert is_password(text) is taken
