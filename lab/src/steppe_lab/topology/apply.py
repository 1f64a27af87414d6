"""Makes a topology: namespaces, then sysctls, then one `ip -batch` a namespace.

The machine's own namespace gets nothing: both ends of every link are born inside the lab.
"""

import subprocess
from pathlib import Path

from steppe.errors import SteppeError
from steppe_lab import netns
from steppe_lab.topology.model import Topology
from steppe_lab.topology.steps import Steps, steps


class TopologyError(SteppeError):
    """The lab's own network could not be made."""


def build(topology: Topology) -> None:
    """Make and wire every namespace of the lab."""
    netns.create(topology.namespaces)
    plan = steps(topology)
    for step in plan:
        # All sysctls come before all links: the fabric's batch makes the hosts' links too.
        netns.inside(step.netns, lambda step=step: _write_sysctls(step))  # type: ignore[misc]
    for step in plan:
        _run_batch(step)


def _write_sysctls(step: Steps) -> None:
    for name, value in step.sysctls:
        path = Path("/proc/sys") / name
        try:
            path.write_text(value)
        except FileNotFoundError:
            if "ipv6" not in name:
                raise
            # A kernel without IPv6 has none of these; an IPv4 lab works there.


def _run_batch(step: Steps) -> None:
    done = subprocess.run(
        ["ip", "-n", step.netns, "-batch", "-"],
        input="".join(f"{line}\n" for line in step.batch),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise TopologyError(f"wiring {step.netns}: {done.stderr.strip()}")
