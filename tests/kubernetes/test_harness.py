"""What the harness promises of itself: it says what is missing, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kubernetes.harness import lan
from tests.kubernetes.harness.cgroups import hierarchies
from tests.kubernetes.harness.cluster import sweep
from tests.kubernetes.harness.errors import HarnessError
from tests.kubernetes.harness.settings import CHECKOUT, PREFIX, settings
from tests.waiting import until

MAKES_A_NODE = """
import signal, subprocess, sys
from pathlib import Path
from tests.kubernetes.harness import lan, node, settings
scratch = Path(sys.argv[1])
pause = scratch / "pause"
source = Path(node.__file__).with_name("pause.c")
subprocess.run(["gcc", "-Os", "-static", "-o", pause, source], check=True)
lan.make()
made = node.Node(settings.Settings(scratch, scratch, Path("/usr/bin"), 1, None, ()), "n1")
made.make(pause)
made.serve("sleeper", "sleep", "1000")
print(made._pid, flush=True)
signal.pause()
"""


def test_missing_programs_are_named_with_what_makes_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STEPPE_KUBERNETES_BIN", str(tmp_path))
    (tmp_path / "etcd").touch()
    with pytest.raises(HarnessError) as refused:
        settings()
    assert "kube-apiserver" in str(refused.value)
    assert "etcd" not in str(refused.value)
    assert "make kubernetes" in str(refused.value)


@pytest.mark.usefixtures("_asked_for")
def test_a_killed_run_leaves_no_process_and_a_sweep_removes_the_rest(tmp_path: Path) -> None:
    sweep()
    argv = [sys.executable, "-c", MAKES_A_NODE, str(tmp_path)]
    with subprocess.Popen(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        os.kill(run.pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}").exists(), 10, "the node ends with what made it")
    assert lan.namespaces()
    sweep()
    assert lan.namespaces() == []
    assert not any((above / PREFIX).exists() for above in hierarchies())
