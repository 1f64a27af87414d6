"""CNI ADD, beside the reference plugins `ptp` and `host-local`.

Both are executed as a container runtime does, in turn, each time for a new namespace. The
reference makes IPv4 only: with IPv6 it waits for duplicate-address detection, which would
flatter us. Ours makes both families. The plugin is the static program that nodes get (shim/), where
this machine can build it; else the script.
"""

import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.lab import NAME, lab, node
from bench.model import BenchError, Benchmark, Result, Say, Target
from steppe_lab import netns
from steppe_lab.kubelet.cni import Attachment, Cni
from steppe_lab.kubelet.cniconf import NetworkList, load_first
from steppe_lab.record import paths

ADDS = 50
RATIO = Target("CNI ADD, median ÷ ptp+host-local", 2.0, at_most=True)
TIME = Target("CNI ADD, median", 25.0, "ms", at_most=True)

SHIM = Path(__file__).parents[1] / "shim" / "build.sh"
REFERENCE_BIN = Path("/usr/lib/cni")


def reference(folder: Path) -> NetworkList:
    ipam = {
        "type": "host-local",
        "dataDir": str(folder / "addresses"),
        "ranges": [[{"subnet": "10.99.0.0/16"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    ptp = {"type": "ptp", "ipMasq": False, "mtu": 1500, "ipam": ipam}
    return NetworkList("reference", "1.0.0", (ptp,))


def installed(there: Path, folder: Path) -> tuple[Path, str]:
    """The folder with our plugin, and which one it is."""
    if shutil.which("rustc") is None:
        return there, "script"
    built = folder / "bin" / "steppe"
    subprocess.run((str(SHIM), str(built)), check=True, capture_output=True)
    return built.parent, "static program"


def add_once(
    cni: Cni, network: NetworkList, node_namespace: str, told: tuple[str, str] | None = None
) -> float:
    """Milliseconds that ADD takes for this pod, or for one that the API has not heard of.

    The pod is gone again afterwards.
    """
    pod = f"st-{NAME}-pod-{secrets.token_hex(4)}"
    namespace, name = told or ("default", pod)
    netns.create((pod,))
    attachment = Attachment(
        container_id=secrets.token_hex(32),
        netns=str(netns.NETNS_DIR / pod),
        args=(("IgnoreUnknown", "1"), ("K8S_POD_NAMESPACE", namespace), ("K8S_POD_NAME", name)),
    )

    def timed() -> float:
        began = time.perf_counter()
        cni.add(network, attachment)
        return (time.perf_counter() - began) * 1000

    try:
        return netns.inside(node_namespace, timed)
    finally:
        netns.inside(node_namespace, lambda: cni.delete(network, attachment))
        netns.delete(pod)


def measure(say: Say) -> Iterator[Result]:
    with lab(2, "direct"), tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ours_at = paths(NAME).node("node-a") / "cni"
        ours = load_first(ours_at / "net.d")
        if ours is None:
            raise BenchError(f"no CNI configuration in {ours_at / 'net.d'}")
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        plugins, which = installed(ours_at / "bin", folder)
        our_cni = Cni((plugins,), folder / "ours", env=env)
        their_cni = Cni((REFERENCE_BIN,), folder / "theirs", env=env)
        theirs = reference(folder)
        say(f"  {ADDS} of each; ours is the {which}")
        times = [
            (
                add_once(our_cni, ours, node("node-a").netns),
                add_once(their_cni, theirs, node("node-b").netns),
            )
            for _ in range(ADDS)
        ]
    mine, reference_time = median(t[0] for t in times), median(t[1] for t in times)
    details = {"steppe": mine, "reference": reference_time, "runs": times, "plugin": which}
    yield Result(RATIO, mine / reference_time, details)
    yield Result(TIME, mine, details)


BENCHMARK = Benchmark((RATIO, TIME), measure)
