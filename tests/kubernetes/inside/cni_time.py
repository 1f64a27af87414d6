"""cni_time.py PROGRAMS COUNT: ADD and DEL by Steppe's plugin and by ptp with host-local, in turn.

As a runtime runs them, each in a network namespace of its own. PROGRAMS holds ptp and host-local.
Prints JSON: for each plugin and command the median of milliseconds, and the 90th of a hundred.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]
CONFLIST = Path("/etc/cni/net.d/10-steppe.conflist")
INSTALLED = "/opt/cni/bin"
REFERENCE: Json = {
    "type": "ptp",
    "ipam": {
        "type": "host-local",
        "dataDir": "/run/cni-time",
        "ranges": [[{"subnet": "10.99.0.0/24"}], [{"subnet": "fd99::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
    },
}


@contextlib.contextmanager
def namespace(name: str) -> Iterator[str]:
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield f"/run/netns/{name}"
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def call(command: str, plugin: Json, folder: str, name: str, netns: str) -> float:
    """Milliseconds from the program's start to its end."""
    config = {"cniVersion": "1.0.0", "name": "cni-time", **plugin}
    config.pop("capabilities", None)
    pod = f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={name};K8S_POD_UID={name}"
    given = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": name,
        "CNI_NETNS": netns,
        "CNI_IFNAME": "eth0",
        "CNI_PATH": folder,
        "CNI_ARGS": f"IgnoreUnknown=1;{pod};K8S_POD_INFRA_CONTAINER_ID={name}",
        "PATH": os.environ["PATH"],
    }
    text = json.dumps(config)
    program = [f"{folder}/{plugin['type']}"]
    begun = time.perf_counter()
    done = subprocess.run(
        program, input=text, env=given, capture_output=True, text=True, check=False
    )
    took = (time.perf_counter() - begun) * 1000
    if done.returncode:
        sys.exit(f"{program[0]} {command}: {done.stdout}{done.stderr}")
    return took


def main() -> None:
    reference, count = sys.argv[1], int(sys.argv[2])
    steppe = json.loads(CONFLIST.read_text())["plugins"][0]
    took: dict[str, list[float]] = {}
    for number in range(count):
        for label, plugin, folder in (
            ("steppe", steppe, INSTALLED),
            ("ptp", REFERENCE, reference),
        ):
            name = f"time-{label}-{number}"
            with namespace(name) as netns:
                for command in ("ADD", "DEL"):
                    milliseconds = call(command, plugin, folder, name, netns)
                    took.setdefault(f"{label} {command}", []).append(milliseconds)
    said = {
        what: {
            "median": round(statistics.median(each), 1),
            "p90": round(sorted(each)[int(len(each) * 0.9)], 1),
        }
        for what, each in took.items()
    }
    sys.stdout.write(json.dumps(said) + "\n")


main()
