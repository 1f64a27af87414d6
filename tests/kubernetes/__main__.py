"""The cluster of the tests, to look at: python -m tests.kubernetes up | kubectl ARGS | node n1 CMD.

`up` stays in the foreground and takes everything down when it is interrupted; `sweep` removes what
a killed run has left. docs/kubernetes.md says more.
"""

import os
import signal
import sys
from pathlib import Path

from tests.kubernetes.harness import lan
from tests.kubernetes.harness.cluster import Cluster, hold, sweep
from tests.kubernetes.harness.errors import HarnessError
from tests.kubernetes.harness.settings import LAN, PREFIX, settings


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def up() -> None:
    cluster = Cluster(settings(), say)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        cluster.start()
        say(cluster.kubectl("get", "nodes", "--output=wide"))
        say("In another terminal: python -m tests.kubernetes kubectl get pods. Ctrl-C ends it.")
        signal.pause()
    except KeyboardInterrupt:
        say("taking it down")
    finally:
        cluster.stop()


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
    commands = {"up": up, "kubectl": kubectl, "node": node, "sweep": swept}
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
