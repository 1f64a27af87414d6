"""The cluster of the tests, to look at, and Kubernetes' own tests of it.

    python -m tests.kubernetes up [--installed]     until Ctrl-C, which takes it down
    python -m tests.kubernetes kubectl get nodes
    python -m tests.kubernetes node n1 ip route
    python -m tests.kubernetes e2e [GROUP...]       the e2e tests of networks; makes a page of them
    python -m tests.kubernetes measure              an agent's memory, and what a CNI ADD takes
    python -m tests.kubernetes sweep                removes what a killed run has left

docs/kubernetes.md says more.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.kubernetes.harness import lan
from tests.kubernetes.harness.cluster import Cluster, hold, sweep
from tests.kubernetes.harness.control_plane import ControlPlane
from tests.kubernetes.harness.errors import HarnessError
from tests.kubernetes.harness.installed import Installed
from tests.kubernetes.harness.settings import LAN, PREFIX, PROGRAMS, settings


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@contextlib.contextmanager
def running(plane: type[ControlPlane], *more: str) -> Iterator[Cluster]:
    """A cluster, until the context ends or somebody interrupts."""
    cluster = Cluster(settings((*PROGRAMS, *more)), plane, say)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        cluster.start()
        yield cluster
    except KeyboardInterrupt:
        say("taking it down")
    finally:
        cluster.stop()


def up(*how: str) -> None:
    with running(Installed if "--installed" in how else ControlPlane) as cluster:
        say(cluster.kubectl("get", "nodes", "--output=wide"))
        say("In another terminal: python -m tests.kubernetes kubectl get pods. Ctrl-C ends it.")
        signal.pause()


def e2e(*groups: str) -> None:
    from tests.kubernetes.e2e import page, run
    from tests.kubernetes.e2e.groups import checked

    wanted = checked(groups)
    with running(Installed, *run.PROGRAMS) as cluster:
        if not run.run(cluster, wanted, say):
            raise HarnessError(f"tests have failed; {page.PAGE} has them")


def measure() -> None:
    from tests.kubernetes import measure as numbers

    with running(Installed) as cluster:
        numbers.measure(cluster, say)


def kubectl(*argv: str) -> None:
    known = settings()
    admin = known.state / "control-plane" / "pki" / "admin.kubeconfig"
    command = (known.kubernetes("kubectl"), "--kubeconfig", str(admin), *argv)
    os.execvp("ip", ["ip", "netns", "exec", LAN, *command])  # noqa: S606


def node(name: str, *argv: str) -> None:
    """Run the command in the node's namespaces."""
    folder = settings().state / "nodes" / name
    if f"{PREFIX}-{name}" not in lan.namespaces():
        raise HarnessError(f"no node {name} runs")
    enter = str(Path(lan.__file__).with_name("enter.sh"))
    pid = (folder / "init").read_text()
    os.execv(enter, [enter, str(folder / "cgroups"), pid, *argv])  # noqa: S606


def swept() -> None:
    lock = hold()
    sweep()
    os.close(lock)


def main() -> int:
    commands: dict[str, Callable[..., None]] = {
        "up": up,
        "kubectl": kubectl,
        "node": node,
        "sweep": swept,
        "e2e": e2e,
        "measure": measure,
    }
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        say(__doc__ or "")
        return 2
    try:
        commands[sys.argv[1]](*sys.argv[2:])
    except HarnessError as error:
        say(f"Error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
