"""Text that others have chosen, on the terminal and in the log of whoever looks."""

import io
import logging
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from steppe import log
from steppe.agent.log import line
from steppe.cli.audit_text import audit_lines
from steppe.cli.main import main
from steppe.cli.terminal import harmless_output
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.printable import harmless, printable

STEERING = {
    "clears the screen": "\x1b[2J",
    "sets the title": "\x1b]0;pwned\x07",
    "sets the clipboard": "\x1b]52;c;cm0gLXJmIC8=\x1b\\",
    "moves up": "\x1b[3A",
    "hides": "\x1b[8m",
    "hides behind a colour": "\x1b[0;8m",
    "by one byte": "\x9b2J",
    "goes to the line's beginning": "\rnode-a: all as they shall be ",
    "takes back": "\x08\x08\x08",
    "ends a string": "\0",
    "writes from right to left": "\u202egnp.exe",
    "isolates": "\u2066x\u2069",
    "begins a line": "\u2028node-b: fine",
    "is no character": "\ud800",
}
steering = pytest.mark.parametrize("text", STEERING.values(), ids=STEERING.keys())
OWN = ("\n", "\t", click.style("x", fg="red", bold=True), click.style("x", dim=True, fg="cyan"))


@steering
def test_nothing_steers_a_terminal(text: str) -> None:
    said = harmless(f"a{text}b")
    assert text not in said
    assert said.isprintable()
    assert said.startswith("a")
    assert printable(f"a{text}b").isprintable()


@pytest.mark.parametrize("text", OWN)
def test_lines_and_colours_of_our_own_stay(text: str) -> None:
    assert harmless(f"a{text}b") == f"a{text}b"


@given(st.text())
def test_whatever_is_written_can_be_encoded_and_has_no_control_characters(text: str) -> None:
    said = harmless(text.replace("\x1b", ""))
    said.encode()
    assert all(each.isprintable() or each in "\n\t\r" or ord(each) > 0x9F for each in said)
    assert printable(text).isprintable()


@steering
def test_an_object_and_a_problem_are_told_on_one_line(text: str) -> None:
    ref = ObjectRef("Pod", f"sh{text}op", f"we{text}\nNode/a: all is well")
    told = str(Problem(Cause(ref, f"spec{text}"), f"no{text}\nNode/b: all is well"))
    assert told.isprintable()
    assert len(told.splitlines()) == 1


POD = """
apiVersion: v1
kind: Pod
metadata: {name: "we\\e[2Jb\\nshop/fake  everything  everyone", namespace: "s\\e]0;x\\ap"}
spec: {nodeName: "a\\nb", containers: [{name: c, image: i}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: "\\e[2J\\u202e", namespace: "s\\e]0;x\\ap"}
spec: {podSelector: {matchLabels: {"k\\e[2J": "\\uD800"}}}
---
apiVersion: v1
kind: "K\\e[2J"
metadata: {name: x}
"""


@pytest.mark.parametrize("command", ["lint", "reach", "explain"])
@pytest.mark.parametrize("output", ["text", "json"])
def test_manifests_cannot_steer_the_terminal_of_who_looks_at_them(
    tmp_path: Path, command: str, output: str
) -> None:
    (tmp_path / "x.yaml").write_text(POD)
    words = [command, "-f", str(tmp_path), *(("x", "y") if command == "explain" else ())]
    words += ["-o", "json"] if output == "json" else []
    done = CliRunner().invoke(main, words)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    for each in (*done.stdout.splitlines(), *done.stderr.splitlines()):
        assert each.isprintable()
        assert not each.startswith("shop/fake")


def test_a_link_that_a_pod_has_named_does_not_steer_the_terminal_of_audit() -> None:
    row = {"table": "links", "key": "\x1b[2Jeth0 in shop/web", "how": "foreign", "because": []}
    row |= {"actual": "veth", "desired": None, "refused": ""}
    answer = {"node": "a", "entries": 1, "repaired": False, "differences": [row], "flows": []}
    answer["others"] = [{"entry": "inet f c", "text": 'drop comment "\x1b]0;x\x07"', "sure": True}]
    out = io.StringIO()
    real, sys.stdout = sys.stdout, out
    try:
        with harmless_output():
            click.echo("\n".join(audit_lines([answer])))
    finally:
        sys.stdout = real
    assert "eth0 in shop/web" in out.getvalue()
    assert all(each.isprintable() for each in out.getvalue().splitlines())


@steering
def test_a_log_entry_is_one_line(text: str) -> None:
    assert line("cni-refused", error=f"x{text}\nINFO all is well").isprintable()
    written = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        log.set_up("info", written)
        logging.getLogger("steppe").info("pod %s", f"x{text}\nINFO all is well")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert len(written.getvalue().splitlines()) == 1
    assert written.getvalue().removesuffix("\n").isprintable()
